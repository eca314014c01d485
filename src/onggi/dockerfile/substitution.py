"""What ``${name#pattern}`` and its kin do to a value: ``*``, ``?`` and backslash, as in a shell."""

from __future__ import annotations

from collections.abc import Iterable

from onggi.archive.patterns import Matcher, Token, but, exactly
from onggi.errors import InvalidArgument


def parse(pattern: str) -> list[Token]:
    """The tokens of a pattern; a star ends at the end of a line. Raises InvalidArgument."""
    tokens: list[Token] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            tokens.append(exactly(_escaped(next(characters, ""), pattern)))
        elif character != "*":
            tokens.append(but("\n") if character == "?" else exactly(character))
        elif not tokens or not tokens[-1].many:
            tokens.append(but("\n", many=True))
    return tokens


def _escaped(character: str, pattern: str) -> str:
    if character and character in "*?\\}/":
        return character
    raise InvalidArgument(f"invalid pattern ({pattern}) in substitution: invalid escape '\\{character}'")


def cut_prefix(pattern: str, text: str, *, longest: bool) -> str:
    """The text without the shortest or longest beginning that matches."""
    return text[_length(parse(pattern), text, longest) :]


def cut_suffix(pattern: str, text: str, *, longest: bool) -> str:
    """The text without the shortest or longest end that matches."""
    return text[: len(text) - _length(parse(pattern)[::-1], text[::-1], longest)]


def _length(tokens: list[Token], text: str, longest: bool) -> int:
    ends = Matcher(tokens).ends(text)
    return _last(ends) if longest else next(iter(ends), 0)


def _last(ends: Iterable[int], default: int = 0) -> int:
    return max(ends, default=default)


def replace(pattern: str, replacement: str, text: str, *, every: bool) -> str:
    """The text with the first match, or every one, replaced; of several at one place the longest."""
    tokens = parse(pattern)
    matcher = Matcher(tokens)
    # Beginnings are ends of the same thing backwards, found in one pass.
    starts = [len(text) - end for end in Matcher(tokens[::-1]).anywhere(text[::-1])]
    pieces: list[str] = []
    position, done = 0, -1
    for start in reversed(starts):
        end = _last(matcher.ends(text, start), -1) if start >= position else -1
        # An empty match right behind another one is none.
        if end < 0 or end == start == done:
            continue
        pieces += [text[position:start], replacement]
        position = done = end
        if not every:
            break
    return "".join([*pieces, text[position:]])
