"""Splits the text of one instruction: keyword, flags, words, JSON, names and values. Quotes stay in place."""

from __future__ import annotations

import json
import re

from onggi.dockerfile.expansion import SPACE
from onggi.errors import InvalidArgument

_GAP = re.compile(r"[\t\v\f\r ]+")
_SURROGATES = re.compile("[\ud800-\udfff]")


def split_keyword(text: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """The keyword, the flags behind it, and the rest."""
    keyword, *rest = _GAP.split(text.strip(SPACE), maxsplit=1)
    if not rest:
        return keyword, (), ""
    flags, arguments = _split_flags(rest[0], escape)
    return keyword, flags, arguments.strip(SPACE)


def _split_flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """Words in front that begin with two dashes, without their quotes; a word of only dashes ends them."""
    flags: list[str] = []
    at = 0
    while True:
        while text[at : at + 1] and text[at] in SPACE:
            at += 1
        if text[at : at + 2] != "--":
            return tuple(flags), text[at:]
        word, at = _unquoted(text, at, escape)
        if word == "--":
            return tuple(flags), text[at:]
        flags.append(word)


def _unquoted(text: str, at: int, escape: str) -> tuple[str, int]:
    """The word at a position without quotes and escapes, and the position behind it."""
    pieces: list[str] = []
    quote = ""
    while at < len(text) and (quote or text[at] not in SPACE):
        character = text[at]
        at += 1
        if character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        elif character != escape:
            pieces.append(character)
        else:
            pieces.append(text[at : at + 1])
            at += 1
    return "".join(pieces), at


def split_words(text: str, escape: str) -> list[str]:
    """Words at unquoted spaces, as written; an escape at the very end is dropped."""
    words: list[str] = []
    at = 0
    while True:
        while text[at : at + 1] and text[at] in SPACE:
            at += 1
        if at == len(text):
            return words
        word, at = _quoted(text, at, escape)
        if word:
            words.append(word)


def _quoted(text: str, at: int, escape: str) -> tuple[str, int]:
    """The word at a position as written, and the position behind it."""
    pieces: list[str] = []
    quote = ""
    while at < len(text) and (quote or text[at] not in SPACE):
        character = text[at]
        if character == escape and quote != "'":
            # The character behind an escape is plain, whatever it is; in front of the end there is none.
            if at + 1 < len(text):
                pieces.append(text[at : at + 2])
            at += 2
            continue
        if character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        pieces.append(character)
        at += 1
    return "".join(pieces), min(at, len(text))


def split_spaces(text: str) -> tuple[str, ...]:
    """Words at spaces; quotes mean nothing."""
    return tuple(_GAP.split(text)) if text else ()


def split_assignments(text: str, instruction: str, escape: str) -> tuple[str, ...]:
    """Name, value and separator of each assignment, in one row; "" separates in ``NAME value``."""
    words = split_words(text, escape)
    if not words:
        return ()
    if "=" not in words[0]:
        name, *rest = _GAP.split(text, maxsplit=1)
        if not rest:
            raise InvalidArgument(f"{instruction} must have two arguments")
        return (name, rest[0], "")
    row: list[str] = []
    for word in words:
        name, separator, value = word.partition("=")
        if not separator:
            quoted = json.dumps(word, ensure_ascii=False)
            raise InvalidArgument(f"Syntax error - can't find = in {quoted}. Must be of the form: name=value")
        row += [name, value, "="]
    return tuple(row)


def split_json(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, None for no JSON array; raises InvalidArgument for other members."""
    text = text.lstrip(SPACE)
    if not text.startswith("["):
        return None
    try:
        # Numbers need no value here, and could be too long for one.
        members = json.loads(text, parse_int=float, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(member, str) for member in members):
        raise InvalidArgument("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(_SURROGATES.sub("\ufffd", member) for member in members)


def _no_constant(name: str) -> float:
    raise ValueError(name)
