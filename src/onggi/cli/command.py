"""The shapes that command modules declare: a command, its flags, and the errors that end it.

A flag is a tuple ``(name, short, kind, default, help)``. ``kind`` is what help shows after the name;
``list:env`` shows ``list`` and is checked as ``env``. ``bool`` flags take no value. A flag whose help is
empty is accepted and not shown.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Flag = tuple[str, str, str, str, str]

PROGRAM = "onggi"


class Command:
    """What a command module exports as ``COMMAND``.

    ``use``: the usage line after the program's name. ``arguments``: least and most (None: any number).
    ``interspersed``: whether flags may follow the first argument. ``aliases``: full names, for help. ``raw``:
    the words are not read here but given on as they are. ``run(cli, options, arguments)`` returns the exit
    code.
    """

    __slots__ = ("about", "aliases", "arguments", "flags", "interspersed", "raw", "run", "use")

    def __init__(
        self,
        use: str,
        about: str,
        run: Callable[[Any, Options, list[str]], int],
        *,
        flags: tuple[Flag, ...] | None = (),
        arguments: tuple[int, int | None] = (0, 0),
        interspersed: bool = True,
        aliases: tuple[str, ...] = (),
    ) -> None:
        self.use, self.about, self.run, self.flags = use, about, run, flags or ()
        self.arguments, self.interspersed, self.aliases = arguments, interspersed, aliases
        self.raw = flags is None


class Options:
    """The values of a command's flags: defaults, then what was typed; ``given`` holds the names typed."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self.given: set[str] = set()

    def set(self, name: str, value: object) -> None:
        """Note a typed value."""
        self._values[name] = value
        self.given.add(name)

    def text(self, name: str) -> str:
        """Return the value of a string flag."""
        return str(self._values[name])

    def number(self, name: str) -> int:
        """Return the value of a flag that counts or measures."""
        return int(self._values[name])

    def on(self, name: str) -> bool:
        """Return the value of a bool flag."""
        return bool(self._values[name])

    def many(self, name: str) -> list[Any]:
        """Return the values of a flag that may be repeated."""
        return list(self._values[name])


class UsageError(Exception):
    """A flag is wrong: the sentence, the usage line and the way to help; exit 125."""


class ArgumentError(Exception):
    """The number of arguments is wrong; exit 1."""


class Failure(Exception):
    """The command ends with ``status``; the sentence is printed as it is, nothing if empty."""

    def __init__(self, sentence: str = "", status: int = 1) -> None:
        self.status = status
        super().__init__(sentence)


def with_help(sentence: str, command: str) -> str:
    """Return the sentence as run and create print it."""
    return f"{PROGRAM}: {sentence}\n\nRun '{PROGRAM} {command} --help' for more information"
