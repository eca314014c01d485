"""The flags of one instruction: which it knows, of which kind, given how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from onggi.dockerfile.failure import hint
from onggi.errors import InvalidArgument, Unsupported


class Kind(Enum):
    """What a flag takes: nothing or a truth, one text, several texts; or that it is not supported here."""

    BOOLEAN = "boolean"
    TEXT = "text"
    TEXTS = "texts"
    REFUSED = "refused"


class Flags:
    """The values of the flags that were given."""

    def __init__(self, given: Sequence[str], known: Mapping[str, Kind]) -> None:
        """Raises InvalidArgument for an unknown flag, one given twice, a value missing or wrong."""
        self._values: dict[str, list[str]] = {}
        for flag in given:
            name, equals, value = flag.removeprefix("--").partition("=")
            kind = known.get(name)
            if kind is None:
                raise InvalidArgument(f"unknown flag: --{name}{hint(name, known)}")
            if kind is Kind.REFUSED:
                raise Unsupported(f"--{name} is not supported")
            if name in self._values and kind is not Kind.TEXTS:
                raise InvalidArgument(f"duplicate flag specified: --{name}")
            text = _checked(name, value if equals else None, kind)
            self._values.setdefault(name, []).append(text)

    def text(self, name: str, default: str = "") -> str:
        """The value of a flag of texts, the default where it was not given."""
        return self._values.get(name, [default])[0]

    def texts(self, name: str) -> tuple[str, ...]:
        """Every value that was given."""
        return tuple(self._values.get(name, ()))

    def maybe(self, name: str) -> bool | None:
        """A truth, None where it was not given."""
        return self._values[name][0] == "true" if name in self._values else None

    def true(self, name: str) -> bool:
        """Whether it was given, and not as false."""
        return bool(self.maybe(name))


def _checked(name: str, value: str | None, kind: Kind) -> str:
    if kind is not Kind.BOOLEAN:
        if value is None:
            raise InvalidArgument(f"missing a value on flag: --{name}")
        return value
    if value == "":
        raise InvalidArgument(f"missing a value on flag: --{name}")
    truth = "true" if value is None else value.lower()
    if truth not in ("true", "false"):
        raise InvalidArgument(f"expecting boolean value for flag --{name}, not: {value}")
    return truth
