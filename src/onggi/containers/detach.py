"""The key sequence that leaves an attached terminal, as docker writes it."""

from __future__ import annotations

from onggi.errors import InvalidArgument

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse_detach_keys(text: str) -> str:
    """The bytes of ``ctrl-p,ctrl-q`` or ``a,b`` in hexadecimal, docker's default for an empty text."""
    return bytes(_key(word) for word in (text or DEFAULT).split(",")).hex()


def _key(word: str) -> int:
    if len(word) == 1 and word.isascii():
        return ord(word)
    mark = word.removeprefix("ctrl-")
    if word.startswith("ctrl-") and len(mark) == 1:
        if mark in _CONTROL:
            return _CONTROL[mark]
        if "a" <= mark <= "z":
            return ord(mark) - ord("a") + 1
    raise InvalidArgument(f"Invalid detach keys ({word}) provided")
