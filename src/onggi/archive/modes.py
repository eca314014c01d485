"""Modes of files as chmod(1) has them: ``0644``, or changes such as ``u=rwX,go=rX``."""

from __future__ import annotations

import re
from collections.abc import Callable

from onggi.errors import InvalidArgument

Mode = Callable[[int, bool], int]  # of a mode, and whether it is a directory's: the new mode
_CHANGE = re.compile(r"([ugoa]*)((?:[-+=][rwxXst]*)+)")
_STEP = re.compile(r"([-+=])([rwxXst]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_SPECIAL = {"u": 0o4000, "g": 0o2000, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}


def parse(text: str) -> Mode:
    """What a mode makes of another one. Raises InvalidArgument."""
    if re.fullmatch(r"[0-7]{1,5}", text) and int(text, 8) <= 0o7777:
        number = int(text, 8)
        return lambda _, __: number
    steps: list[tuple[str, str, str]] = []
    for change in text.split(","):
        match = _CHANGE.fullmatch(change)
        if match is None:
            raise InvalidArgument(
                f"invalid chmod parameter: {text!r}: expected octal digits, or such as u=rwX,go=rX"
            )
        who = match[1].replace("a", "ugo") or "ugo"
        steps += [(who, operator, letters) for operator, letters in _STEP.findall(match[2])]

    def changed(mode: int, directory: bool) -> int:
        for who, operator, letters in steps:
            mode = _step(mode, who, operator, letters, directory=directory)
        return mode

    return changed


def _step(mode: int, who: str, operator: str, letters: str, *, directory: bool) -> int:
    runs = directory or bool(mode & 0o111)
    bits = sum({_BITS.get(it, 1 if it == "X" and runs else 0) for it in letters}) if letters else 0
    value, scope = 0, 0
    for person in set(who):
        value |= bits << _SHIFTS[person] | (_SPECIAL[person] if "s" in letters else 0)
        scope |= 7 << _SHIFTS[person] | _SPECIAL[person]
    value |= 0o1000 if "t" in letters else 0
    if operator == "-":
        return mode & ~value
    return (mode & ~scope | value) if operator == "=" else mode | value
