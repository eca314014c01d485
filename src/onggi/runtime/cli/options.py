"""Command lines: options as data, parsed in the way of runc and crun.

Options stand before the first positional argument (what follows belongs to the program of ``exec``);
``--`` ends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from onggi.errors import InvalidArgument


class Option(NamedTuple):
    """One option: long name, optional letter, whether it takes a value or collects many, and its help."""

    name: str
    letter: str = ""
    value: str = ""
    many: bool = False
    help: str = ""


class Values:
    """What was given, by long name."""

    def __init__(self) -> None:
        self._given: dict[str, list[str]] = {}

    def add(self, name: str, value: str) -> None:
        """Note one occurrence."""
        self._given.setdefault(name, []).append(value)

    def text(self, name: str, default: str = "") -> str:
        """The last value given."""
        return self._given.get(name, [default])[-1]

    def many(self, name: str) -> list[str]:
        """Every value given, in order."""
        return self._given.get(name, [])

    def flag(self, name: str) -> bool:
        """Whether a switch was given, and not as ``--name=false``."""
        return self.text(name, "false") != "false"

    def number(self, name: str, default: int | None = None) -> int | None:
        """The last value as an integer; raises InvalidArgument."""
        if name not in self._given:
            return default
        text = self.text(name)
        try:
            return int(text)
        except ValueError:
            raise InvalidArgument(f"invalid value {text!r} for --{name}: not a number") from None

    def __contains__(self, name: str) -> bool:
        return name in self._given


def parse(options: Sequence[Option], arguments: Sequence[str]) -> tuple[Values, list[str]]:
    """(values, positional arguments); raises InvalidArgument naming what is wrong."""
    long = {option.name: option for option in options}
    short = {option.letter: option for option in options if option.letter}
    values, rest = Values(), list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, attached = word.lstrip("-").partition("=")
        if word.startswith("--") or name in long:
            _take(long.get(name), word, values, rest, attached if equals else None)
        else:
            _letters(short, word, values, rest)
    return values, rest


def _letters(short: dict[str, Option], word: str, values: Values, rest: list[str]) -> None:
    letters = word[1:]
    while letters:
        option = short.get(letters[0])
        letters = letters[1:]
        if option and option.value and letters:
            _take(option, word, values, rest, letters.removeprefix("="))
            return
        _take(option, word, values, rest, None)


def _take(option: Option | None, word: str, values: Values, rest: list[str], attached: str | None) -> None:
    if option is None:
        raise InvalidArgument(f"unknown option {word.partition('=')[0]}")
    if option.value and attached is None:
        if not rest:
            raise InvalidArgument(f"option {word} needs a value")
        attached = rest.pop(0)
    values.add(option.name, "true" if attached is None else attached)


def usage(program: str, words: str, options: Sequence[Option]) -> str:
    """The help text of a command line."""
    lines = [f"Usage: {program} [OPTION...] {words}", ""]
    for option in options:
        name = f"--{option.name}" + (f"={option.value}" if option.value else "")
        letter = f"-{option.letter}, " if option.letter else "    "
        lines.append(f"  {letter}{name:<28} {option.help}".rstrip())
    return "\n".join(lines) + "\n"
