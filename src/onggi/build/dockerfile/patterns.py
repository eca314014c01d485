"""Shell patterns in linear time: a text cannot make a pattern slow, whatever the number of its stars.

A pattern is a list of tokens; a set of positions in it is one integer, and a character moves all of them at
once (Thompson's simulation with the set as bits).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from onggi.errors import InvalidArgument


class Token(NamedTuple):
    """One character of ``text``, or with ``star`` any number; an empty ``text`` is any but a line's end."""

    text: str = ""
    star: bool = False


def parse(pattern: str) -> list[Token]:
    """Tokens of the pattern of a ``${name#pattern}``: ``*``, ``?`` and backslash; raises InvalidArgument."""
    tokens: list[Token] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            tokens.append(Token(_escaped(next(characters, ""), pattern)))
        elif character != "*":
            tokens.append(Token() if character == "?" else Token(character))
        elif not tokens or not tokens[-1].star:
            tokens.append(Token(star=True))
    return tokens


def _escaped(character: str, pattern: str) -> str:
    if character in ("*", "?", "\\", "}", "/"):
        return character
    raise InvalidArgument(f"invalid pattern ({pattern}) in substitution: invalid escape '\\{character}'")


class _Moves:
    """Where each character leads, as masks over the positions of one pattern."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.accept = 1 << len(tokens)
        self._stars = sum(1 << i for i, token in enumerate(tokens) if token.star)
        self._any = sum(1 << i for i, token in enumerate(tokens) if not token.star and not token.text)
        self._exact: dict[str, int] = defaultdict(int)
        for i, token in enumerate(tokens):
            if token.text:
                self._exact[token.text] |= 1 << i

    def settle(self, states: int) -> int:
        """With the positions reached without a character: a star may match nothing, none follows another."""
        return states | (states & self._stars) << 1

    def step(self, states: int, character: str) -> int:
        """The positions after one more character."""
        moving = self._exact.get(character, 0)
        if character == "\n":
            return self.settle((states & moving) << 1)
        stays = states & self._stars
        return self.settle(stays | (states & (moving | self._any)) << 1)


def ends(tokens: Sequence[Token], text: str, start: int = 0) -> Iterator[int]:
    """Where matches that begin at ``start`` end, shortest first."""
    moves = _Moves(tokens)
    states = moves.settle(1)
    for position in range(start, len(text) + 1):
        if states & moves.accept:
            yield position
        if not states or position == len(text):
            return
        states = moves.step(states, text[position])


def cut_prefix(pattern: str, text: str, *, longest: bool) -> str:
    """The text without the shortest or longest beginning that matches."""
    found = _last(ends(parse(pattern), text)) if longest else next(ends(parse(pattern), text), -1)
    return text[max(found, 0) :]


def cut_suffix(pattern: str, text: str, *, longest: bool) -> str:
    """The text without the shortest or longest end that matches."""
    tokens, backwards = parse(pattern)[::-1], text[::-1]
    found = _last(ends(tokens, backwards)) if longest else next(ends(tokens, backwards), -1)
    return text[: len(text) - max(found, 0)]


def replace(pattern: str, replacement: str, text: str, *, every: bool) -> str:
    """The text with the first match, or every one, replaced; of several at one place the longest."""
    tokens = parse(pattern)
    starts = _starts(tokens, text)
    pieces, position, done = [], 0, -1
    for start in starts:
        end = _last(ends(tokens, text, start)) if start >= position else -1
        # An empty match right behind another one is none.
        if end < 0 or (end == start == done):
            continue
        pieces += [text[position:start], replacement]
        position = done = end
        if not every:
            break
    return "".join([*pieces, text[position:]])


def _starts(tokens: Sequence[Token], text: str) -> list[int]:
    """Where matches begin, found backwards in one pass."""
    moves = _Moves(tokens[::-1])
    fresh = moves.settle(1)
    states, found = fresh, []
    for position in range(len(text), -1, -1):
        if states & moves.accept:
            found.append(position)
        if position:
            states = moves.step(states, text[position - 1]) | fresh
    return found[::-1]


def _last(positions: Iterator[int]) -> int:
    return max(positions, default=-1)
