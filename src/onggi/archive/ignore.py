"""Ignore files: what of a directory does not go into a build, by docker's rules for ``.dockerignore``.

A line is a pattern of paths below the directory: ``*`` and ``?`` within a name, ``**`` across directories,
``[a-z]`` sets. A pattern that matches a directory matches all in it; ``!`` takes back; of all the patterns
that match, the last decides.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from onggi.archive.patterns import TREE, Matcher, Token, anything, but, exactly
from onggi.errors import InvalidArgument

MAX_BYTES = 1 << 20
_PLAIN = re.compile(r"[^*?\[\\]*")
# How long a path may be for a regular expression with so many stars, which goes back at each of them.
_SHORT = (1 << 30, 1 << 30, 1000, 120, 60)
Above = tuple[bool, ...]


class Rule(NamedTuple):
    """One line: what it matches, and whether it takes back."""

    pattern: str
    keeps: bool
    matches: Callable[[str], bool]


class Ignored:
    """The rules of one file. Paths are without a slash in front, ``""`` is the directory itself."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises InvalidArgument for a bad pattern."""
        self.rules = tuple(_rule(pattern) for pattern in patterns)
        self.takes_back = any(rule.keeps for rule in self.rules)
        self._nowhere: Above = (False,) * len(self.rules)

    def __contains__(self, path: str) -> bool:
        """Whether a path is ignored, by itself or with a directory above it."""
        if not self.rules:
            return False
        above = self._nowhere
        for directory in directories_above(path):
            above = self.inside(directory, above)
        return self.ignores(path, above)

    def inside(self, directory: str, above: Above = ()) -> Above:
        """Which rules match a directory or one above it: what the paths in it need to be decided."""
        if not directory or not self.rules:
            return self._nowhere
        pairs = zip(self.rules, above or self._nowhere, strict=True)
        return tuple(known or rule.matches(directory) for rule, known in pairs)

    def ignores(self, path: str, above: Above = ()) -> bool:
        """Whether a path is ignored, given the rules that match above it."""
        if not path:
            return False
        for rule, known in zip(reversed(self.rules), reversed(above or self._nowhere), strict=True):
            if known or rule.matches(path):
                return not rule.keeps
        return False

    def may_keep_in(self, directory: str) -> bool:
        """Whether something in an ignored directory could be taken back."""
        return self.takes_back and any(_reaches(rule, directory) for rule in self.rules if rule.keeps)


def directories_above(path: str) -> Iterator[str]:
    """The directories that a path lies in, from the uppermost."""
    return (path[:place] for place, character in enumerate(path) if character == "/")


def _reaches(rule: Rule, directory: str) -> bool:
    """Whether a rule could match below a directory: what stands before its first star decides."""
    plain = _PLAIN.match(rule.pattern)
    start = plain[0] if plain else ""
    if start == rule.pattern:
        return start.startswith(f"{directory}/")
    return f"{directory}/".startswith(start) or start.startswith(f"{directory}/")


def read(data: bytes) -> list[str]:
    """The patterns of an ignore file. Raises InvalidArgument for one that is too large."""
    if len(data) > MAX_BYTES:
        raise InvalidArgument(f"an ignore file of more than {MAX_BYTES} bytes")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = (line.strip() for line in text.split("\n") if not line.startswith("#"))
    return [line for line in lines if line]


def _rule(pattern: str) -> Rule:
    keeps = pattern.startswith("!")
    text = pattern[keeps:].strip()
    if not text:
        raise InvalidArgument(f'illegal exclusion pattern: "{pattern}"')
    text = posixpath.normpath(text).lstrip("/")
    return Rule(text, keeps, _matching(text))


def _matching(pattern: str) -> Callable[[str], bool]:
    """What tells whether a path matches, as fast as the pattern allows."""
    if _PLAIN.fullmatch(pattern):
        return pattern.__eq__
    if pattern.endswith("**") and _PLAIN.fullmatch(pattern[:-2]):
        start = pattern[:-2]
        return lambda path: path.startswith(start)
    if pattern.startswith("**") and _PLAIN.fullmatch(pattern[2:]):
        end = pattern[2:]
        return lambda path: path.endswith(end) or f"/{path}" == end
    parts = list(_parts(pattern))
    stars = sum(part.stars for part in parts)
    compiled = re.compile("".join(part.expression for part in parts), re.DOTALL)
    matcher = Matcher([token for part in parts for token in part.tokens])
    longest = _SHORT[stars] if stars < len(_SHORT) else 0
    return lambda path: bool(compiled.fullmatch(path) if len(path) <= longest else matcher.fullmatch(path))


class _Part(NamedTuple):
    """A piece of a pattern, for either way to match it."""

    expression: str
    tokens: tuple[Token, ...]
    stars: int = 0


_STAR = _Part("[^/]*", (but("/", many=True),), 1)
_ONE = _Part("[^/]", (but("/"),))
_REST = _Part(".*", (Token(anything, many=True),), 1)
_DIRECTORIES = _Part("(?:.*/)?", TREE, 1)


def _parts(pattern: str) -> Iterator[_Part]:
    at = 0
    before: _Part | None = None
    while at < len(pattern):
        part, at = _part(pattern, at)
        # Twice the same star is one.
        if part.stars == 0 or part is not before:
            yield part
        before = part


def _part(pattern: str, at: int) -> tuple[_Part, int]:
    """The piece at a position, and the position behind it."""
    character = pattern[at]
    if pattern.startswith("**", at):
        at += 3 if pattern.startswith("**/", at) else 2
        return (_REST if at >= len(pattern) else _DIRECTORIES), at
    match character:
        case "*":
            return _STAR, at + 1
        case "?":
            return _ONE, at + 1
        case "[":
            return _set(pattern, at)
        case "\\" if at + 1 == len(pattern):
            raise _bad(pattern)
        case "\\":
            return _plain(pattern[at + 1]), at + 2
    return _plain(character), at + 1


def _plain(character: str) -> _Part:
    return _Part(re.escape(character), (exactly(character),))


def _set(pattern: str, at: int) -> tuple[_Part, int]:
    """A set ``[^a-z]``. Raises InvalidArgument as Go does: empty, open, a range without an end."""
    at += 1
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    while not ranges or not pattern.startswith("]", at):
        low, at = _bound(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _bound(pattern, at + 1)
        ranges.append((low, high))
    inner = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)

    def takes(character: str) -> bool:
        return any(low <= character <= high for low, high in ranges) != negated

    never = "(?!)" if not negated else "."
    expression = f"[{'^' * negated}{inner}]" if inner else never
    return _Part(expression, (Token(takes),)), at + 1


def _bound(pattern: str, at: int) -> tuple[str, int]:
    escaped = pattern.startswith("\\", at)
    at += escaped
    if at + 1 >= len(pattern) or (not escaped and pattern[at] in "-]"):
        raise _bad(pattern)
    return pattern[at], at + 1


def _bad(pattern: str) -> InvalidArgument:
    return InvalidArgument(f'syntax error in pattern: "{pattern}"')
