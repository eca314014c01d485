"""Patterns in linear time: no text and no number of stars makes one slow.

A pattern is a row of tokens. The set of positions in it that a text may have reached is one integer, and a
character moves all of them at once (Thompson's simulation with the set as bits).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from onggi.errors import InvalidArgument

MAX_LENGTH = 4096  # of a pattern


class Token(NamedTuple):
    """One place of a pattern: which characters it takes, and whether any number of them or just one.

    ``tree`` are the two places of a ``**`` in front of more: nothing, or any number of directories.
    """

    takes: Callable[[str], bool]
    many: bool = False
    tree: str = ""  # "enter" or "inside"


def exactly(character: str) -> Token:
    """The place of one character."""
    return Token(character.__eq__)


def but(character: str, *, many: bool = False) -> Token:
    """The place of any character but one."""
    return Token(character.__ne__, many)


def anything(character: str) -> bool:
    """What takes every character."""
    return True


TREE = (Token(anything, tree="enter"), Token(anything, tree="inside"))


class Matcher:
    """A compiled row of tokens; what each character does is found out when it is first met.

    No place of ``many`` may follow another, nor a tree follow one, so that a step is a fixed number of
    operations.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        """Raises InvalidArgument for a pattern that is too long."""
        if len(tokens) > MAX_LENGTH:
            raise InvalidArgument(f"a pattern of more than {MAX_LENGTH} characters")
        self._tokens = tokens
        self._accept = 1 << len(tokens)
        self._many = _mask(tokens, lambda token: token.many)
        self._enter = _mask(tokens, lambda token: token.tree == "enter")
        self._inside = self._enter << 1
        self._takers: dict[str, int] = {}

    def fullmatch(self, text: str) -> bool:
        """Whether the whole text matches."""
        states = self._settle(1)
        for character in text:
            states = self._step(states, character)
            if not states:
                return False
        return bool(states & self._accept)

    def ends(self, text: str, start: int = 0) -> Iterator[int]:
        """Where matches that begin at ``start`` end, shortest first."""
        states = self._settle(1)
        for position in range(start, len(text) + 1):
            if states & self._accept:
                yield position
            if not states or position == len(text):
                return
            states = self._step(states, text[position])

    def anywhere(self, text: str) -> Iterator[int]:
        """Where matches end, whatever the place where they begin."""
        fresh = self._settle(1)
        states = fresh
        for position in range(len(text) + 1):
            if states & self._accept:
                yield position
            if position < len(text):
                states = self._step(states, text[position]) | fresh

    def _settle(self, states: int) -> int:
        """With what is reached without a character."""
        entering = states & self._enter
        states |= entering << 1 | entering << 2
        return states | (states & self._many) << 1

    def _step(self, states: int, character: str) -> int:
        takers = self._takers.get(character)
        if takers is None:
            takers = _mask(self._tokens, lambda token: token.tree != "enter" and token.takes(character))
            self._takers[character] = takers
        moving = states & takers
        inside = moving & self._inside
        stays = (moving & self._many) | inside
        ahead = (moving ^ stays) << 1 | (inside << 1 if character == "/" else 0)
        return self._settle(stays | ahead)


def _mask(tokens: Sequence[Token], holds: Callable[[Token], bool]) -> int:
    return sum(1 << place for place, token in enumerate(tokens) if holds(token))
