"""Replaces variables in a word and takes away its quotes, by the rules of docker's Dockerfiles.

``$name`` and ``${name}`` with the modifiers ``:-  -  :+  +  :?  ?  #  ##  %  %%  /  //``. One pass over the
text; braces within braces are read by recursion, which has a limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from onggi.dockerfile import substitution
from onggi.errors import InvalidArgument

MAX_DEPTH = 64  # of braces in braces
# What Go calls space, which is what docker trims and splits at.
SPACE = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_SPECIAL = "@*#?-$!0"
_SPACES = re.compile(f"[{re.escape(SPACE)}]+")
_PLAIN = re.compile(r"[^'\"$<\\`}/]*")


class Mode(NamedTuple):
    """What stays as it is: quotes with their words, escapes, quotes as plain text, what has no value."""

    raw_quotes: bool = False
    raw_escapes: bool = False
    plain_quotes: bool = False
    keep_unset: bool = False


class Expanded(NamedTuple):
    """A word after expansion, and split at its unquoted spaces; which names had a value, which not."""

    text: str
    words: tuple[str, ...]
    used: frozenset[str]
    missing: frozenset[str]


WORD = Mode()


def expand(text: str, variables: Mapping[str, str], escape: str = "\\", mode: Mode = WORD) -> Expanded:
    """Expand one word; raises InvalidArgument that quotes it."""
    run = _Expansion(text, variables, escape, mode)
    try:
        result, words = run.until("", mode.raw_escapes)
    except InvalidArgument as error:
        raise InvalidArgument(f"failed to process {json.dumps(text, ensure_ascii=False)}: {error}") from None
    return Expanded(result, tuple(words), frozenset(run.used), frozenset(run.missing))


class _Words:
    """Text that grows and is split at its unquoted spaces."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self._words: list[str] = []
        self._word: list[str] = []

    def add(self, text: str, *, quoted: bool = False) -> None:
        self.text.append(text)
        first, *rest = (text,) if quoted else _SPACES.split(text)
        self._word.append(first)
        for word in rest:
            self._finish()
            self._word.append(word)

    def _finish(self) -> None:
        if word := "".join(self._word):
            self._words.append(word)
        self._word = []

    def finished(self) -> tuple[str, list[str]]:
        self._finish()
        return "".join(self.text), self._words


class _Expansion:
    """The reader of one word: a position in its text, and what was met."""

    def __init__(self, text: str, variables: Mapping[str, str], escape: str, mode: Mode) -> None:
        self._text, self._variables, self._escape, self._mode = text, variables, escape, mode
        self._at, self._depth = 0, 0
        self.used: set[str] = set()
        self.missing: set[str] = set()
        self._special: dict[str, Callable[[bool], str]] = {"$": self._dollar, "<": self._document}
        if not mode.plain_quotes:
            self._special |= {"'": self._single, '"': self._double}

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def _plain(self) -> str:
        """The next character, with those behind it that never mean anything."""
        start, match = self._at, _PLAIN.match(self._text, self._at + 1)
        self._at = match.end() if match else start + 1
        return self._text[start : self._at]

    def until(self, stop: str, raw: bool) -> tuple[str, list[str]]:
        """Expand up to ``stop``, which is consumed; "" is the end of the text."""
        words = _Words()
        while character := self._peek():
            if character == stop:
                self._at += 1
                return words.finished()
            if special := self._special.get(character):
                words.add(special(raw), quoted=character != "$")
            elif character == self._escape:
                self._escaped(words, raw)
            else:
                words.add(self._plain())
        if stop:
            raise InvalidArgument(f"unexpected end of statement while looking for matching {stop}")
        return words.finished()

    def _escaped(self, words: _Words, raw: bool) -> None:
        """An escape makes the next character plain; at the end of the text it is nothing."""
        self._at += 1
        if raw:
            words.add(self._escape, quoted=True)
        if character := self._next():
            words.add(character, quoted=True)

    def _single(self, raw: bool) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise InvalidArgument("unexpected end of statement while looking for matching single-quote")
        quoted, self._at = self._text[self._at : end + 1], end + 1
        return quoted if self._mode.raw_quotes else quoted[1:-1]

    def _double(self, raw: bool) -> str:
        """What is between double quotes: variables count, escapes only before what they can escape."""
        self._at += 1
        pieces: list[str] = []
        while (character := self._peek()) != '"':
            if not character:
                raise InvalidArgument("unexpected end of statement while looking for matching double-quote")
            if character == "$":
                pieces.append(self._dollar(raw))
            elif character == self._escape:
                pieces.append(self._escaped_in_quotes(raw))
            else:
                pieces.append(self._next())
        self._at += 1
        quote = '"' if self._mode.raw_quotes else ""
        return f"{quote}{''.join(pieces)}{quote}"

    def _escaped_in_quotes(self, raw: bool) -> str:
        escape, following = self._next(), self._peek()
        kept = escape if raw else ""
        if not following:
            return kept
        return kept + (self._next() if following in ('"', "$", escape) else escape)

    def _document(self, raw: bool) -> str:
        """``<`` or ``<<`` with the spaces behind it, so that a here-document stays one word."""
        self._at += 1
        if self._peek() != "<":
            return "<"
        start = self._at
        self._at += 1
        while self._peek() and self._peek() in " \t\r":
            self._at += 1
        return "<" + self._text[start : self._at]

    def _dollar(self, raw: bool) -> str:
        self._at += 1
        if self._peek() == "{":
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise InvalidArgument(f"more than {MAX_DEPTH} variables within one another")
            value = self._braces()
            self._depth -= 1
            return value
        name = self._name()
        if not name:
            return "$"
        value, found = self._value(name)
        return value if found or not self._mode.keep_unset else f"${name}"

    def _name(self) -> str:
        """A name, a number or one of the shell's special parameters; "" if none stands here."""
        start, first = self._at, self._peek()
        if first.isdecimal():
            accepts: Callable[[str], bool] = str.isdecimal
        elif first and first in _SPECIAL:
            return self._next()
        else:
            accepts = _in_names
        while self._peek() and accepts(self._peek()):
            self._at += 1
        return self._text[start : self._at]

    def _value(self, name: str) -> tuple[str, bool]:
        value = self._variables.get(name)
        (self.missing if value is None else self.used).add(name)
        return value or "", value is not None

    def _braces(self) -> str:
        """The value of ``${…}``; stands at the brace."""
        self._at += 1
        if not self._peek():
            raise InvalidArgument("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise InvalidArgument("syntax error: bad substitution")
        name = self._name()
        modifier = self._next()
        if modifier == "}":
            value, found = self._value(name)
            return value if found or not self._mode.keep_unset else f"${{{name}}}"
        if modifier == "/":
            return self._replaced(name)
        if not modifier:
            raise InvalidArgument("syntax error: missing '}'")
        colon = modifier == ":"
        kind = self._next() if colon else modifier
        if kind not in ("+", "-", "?", "#", "%") or (colon and kind in "#%"):
            raise InvalidArgument(f"unsupported modifier ({':' * colon}{kind}) in substitution")
        word = self._inner("}", "syntax error: missing '}'", kind in "#%")
        value, found = self._value(name)
        if self._mode.keep_unset and not found:
            return f"${{{name}{':' * colon}{kind}{word}}}"
        return _modified(name, kind, word, value if found else None, colon)

    def _inner(self, stop: str, missing: str, raw: bool) -> str:
        try:
            return self.until(stop, raw)[0]
        except InvalidArgument:
            if self._peek():
                raise
            raise InvalidArgument(missing) from None

    def _replaced(self, name: str) -> str:
        every = self._peek() == "/"
        self._at += every
        pattern = self._inner("/", "syntax error: missing '/' in ${}", True)
        replacement = self._inner("}", "syntax error: missing '}'", True)
        value, found = self._value(name)
        if self._mode.keep_unset and not found:
            return f"${{{name}/{pattern}/{replacement}}}"
        return substitution.replace(pattern, replacement, value, every=every)


def _in_names(character: str) -> bool:
    return character == "_" or character.isalpha() or character.isdecimal()


def _modified(name: str, kind: str, word: str, value: str | None, colon: bool) -> str:
    """The value of ``${name[:]kind word}``; ``value`` is None for what is not set."""
    absent = value is None or (colon and not value)
    match kind:
        case "-":
            return word if absent else value or ""
        case "+":
            return "" if absent else word
        case "?" if absent:
            state = "unset" if value is None else "empty"
            raise InvalidArgument(f"{name}: {word or f'is not allowed to be {state}'}")
        case "?":
            return value or ""
    longest = word.startswith(kind)
    cut = substitution.cut_prefix if kind == "#" else substitution.cut_suffix
    return cut(word[longest:], value or "", longest=longest)
