"""Query strings as docker's daemon reads them: its idea of true, of numbers, times and filters."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import parse_qsl

import msgspec

from onggi.errors import InvalidArgument
from onggi.filters import check_names

_FALSE = frozenset(("", "0", "no", "false", "none"))
_TIMESTAMP = re.compile(r"(-?\d+)(?:\.(\d{1,9}))?")
_INTEGER = re.compile(r"[+-]?\d{1,19}")
_MAX_FIELDS = 10_000
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)

Filters = dict[str, list[str]]


class Query:
    """The parameters of one request; of a repeated one the first counts, unless ``all`` is asked."""

    def __init__(self, text: str) -> None:
        _check_fields(text)
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS) if text else []
        except ValueError as error:
            raise InvalidArgument(f"malformed query: {error}") from None
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """Return the value as it is."""
        values = self._values.get(name)
        return values[0] if values else default

    def all(self, name: str) -> list[str]:
        """Return every value of a repeated parameter."""
        return self._values.get(name, [])

    def flag(self, name: str, default: bool = False) -> bool:
        """Everything but empty, 0, no, false and none is true; a missing parameter is ``default``."""
        if name not in self._values:
            return default
        return self.text(name).strip().lower() not in _FALSE

    def integer(self, name: str, default: int | None = None) -> int | None:
        """Return a number. Raises InvalidArgument with Go's words."""
        value = self.text(name)
        if not value:
            return default
        if not _INTEGER.fullmatch(value):
            raise InvalidArgument(f'strconv.Atoi: parsing "{value}": invalid syntax')
        return int(value)

    def time_ns(self, name: str) -> int:
        """Return ``seconds[.nanoseconds]`` as nanoseconds since the epoch; 0 if missing."""
        value = self.text(name)
        if not value:
            return 0
        match = _TIMESTAMP.fullmatch(value)
        if match is None:
            raise InvalidArgument(f'strconv.ParseInt: parsing "{value}": invalid syntax')
        return int(match[1]) * 1_000_000_000 + int((match[2] or "0").ljust(9, "0"))

    def filters(self, allowed: Collection[str] | None = None) -> Filters:
        """Return the ``filters`` parameter; both of docker's encodings are read.

        Raises InvalidArgument for other shapes and for names that are not in ``allowed``.
        """
        filters = parse_filters(self.text("filters"))
        if allowed is not None:
            check_names(filters, allowed)
        return filters


def _check_fields(text: str) -> None:
    """Raise InvalidArgument in Go's words for the first field that its parser does not read."""
    for field in text.split("&") if ";" in text or "%" in text else ():
        if ";" in field:
            raise InvalidArgument("invalid semicolon separator in query")
        for part in field.partition("="):
            if bad := _BAD_ESCAPE.search(part):
                raise InvalidArgument(f'invalid URL escape "{bad[0]}"')


def parse_filters(text: str) -> Filters:
    """Read ``{"name": {"value": true}}`` or, of old clients, ``{"name": ["value"]}``."""
    if not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, list[str]])
    except msgspec.ValidationError:
        return _parse_filter_sets(text)
    except msgspec.DecodeError:
        raise InvalidArgument("invalid filter") from None


def _parse_filter_sets(text: str) -> Filters:
    try:
        sets = msgspec.json.decode(text, type=dict[str, dict[str, bool]])
    except msgspec.DecodeError:
        raise InvalidArgument("invalid filter") from None
    return {name: [value for value, on in values.items() if on] for name, values in sets.items()}
