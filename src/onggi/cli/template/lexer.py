"""Splits a template into text and actions, and an action into words. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}


class TemplateError(Exception):
    """The template is malformed, or asks for what is not there."""


class Word:
    """One word of an action: ``kind`` is name, field, variable, string, number, mark or end."""

    __slots__ = ("kind", "spaced", "value")

    def __init__(self, kind: str, value: str, spaced: bool) -> None:
        self.kind, self.value, self.spaced = kind, value, spaced


def pieces(text: str) -> Iterator[tuple[bool, str]]:
    """Yield (is an action, content) in order, with ``{{-`` and ``-}}`` applied to the text around them."""
    trim = False
    while True:
        before, mark, rest = text.partition("{{")
        start_trim = rest.startswith(("- ", "-\t", "-\n"))
        before = before.lstrip() if trim else before
        yield False, before.rstrip() if start_trim else before
        if not mark:
            return
        end = _action_end(rest)
        action = rest[start_trim:end]
        trim = action.endswith((" -", "\t-", "\n-"))
        yield True, action[: len(action) - trim]
        text = rest[end + 2 :]


def _action_end(text: str) -> int:
    """Return where the action's ``}}`` begins; those within strings do not count."""
    quote, at = "", 0
    while at < len(text):
        if quote:
            if text[at] == "\\" and quote != "`":
                at += 1
            elif text[at] == quote:
                quote = ""
        elif text[at] in "\"'`":
            quote = text[at]
        elif text.startswith("}}", at):
            return at
        at += 1
    raise TemplateError("unterminated quoted string" if quote else "unclosed action")


def words(action: str) -> list[Word]:
    """Return the words of an action, closed by one of kind ``end``. Raises TemplateError."""
    found: list[Word] = []
    at = 0
    while at < len(action):
        start = at
        while at < len(action) and action[at].isspace():
            at += 1
        if at < len(action):
            kind, value, end = _word(action, at)
            found.append(Word(kind, value, at > start or not found))
            at = end
    return [*found, Word("end", "", True)]


def _word(text: str, at: int) -> tuple[str, str, int]:
    character = text[at]
    if character in "\"'`":
        return _string(text, at)
    if character in ".$" or character.isalpha() or character == "_":
        end = at + 1
        while end < len(text) and text[end] in _NAME:
            end += 1
        kind = {".": "field", "$": "variable"}.get(character, "name")
        return kind, text[at:end], end
    if character.isdigit() or (character in "+-" and text[at + 1 : at + 2].isdigit()):
        end = at + 1
        while end < len(text) and (text[end] in _NAME or text[end] == "."):
            end += 1
        return "number", text[at:end], end
    for mark in (":=", "|", "(", ")", ",", "="):
        if text.startswith(mark, at):
            return "mark", mark, at + len(mark)
    raise TemplateError(f"unexpected {character!r} in command")


def _string(text: str, at: int) -> tuple[str, str, int]:
    quote, value, end = text[at], "", at + 1
    while end < len(text) and text[end] != quote:
        if text[end] == "\\" and quote != "`":
            end += 1
            if text[end] not in _ESCAPES:
                raise TemplateError("invalid syntax")
            value += _ESCAPES[text[end]]
        else:
            value += text[end]
        end += 1
    return (
        ("number", str(ord(value)), end + 1)
        if quote == "'" and len(value) == 1
        else ("string", value, end + 1)
    )
