"""Words of a Dockerfile instruction: quotes, backslashes and variables (Dockerfile reference, "Environment
replacement").
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from onggi.errors import InvalidArgument

_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::([-+])([^}]*))?\})", re.ASCII)
_TOKEN = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|\$\{[^}]*\}|[^\s'"\\]""", re.DOTALL)


def words(text: str, environment: Mapping[str, str]) -> list[str]:
    """Split at unquoted blanks, take quotes away, replace variables. Raises InvalidArgument for an open
    quote.
    """
    return [_plain(word, environment) for word in _split(text)]


def pairs(instruction: str, text: str, environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """``a=b c="d e"``, or the old form ``a rest of the line``. Raises InvalidArgument."""
    found = _split(text)
    if "=" not in found[0]:
        name, _, value = text.partition(" ")
        if not value.strip():
            raise InvalidArgument(f"{instruction} must have two arguments")
        return [(name, _plain(value.strip(), environment))]
    result = []
    for word in found:
        name, equals, value = word.partition("=")
        name = _plain(name, environment)
        if not equals:
            raise InvalidArgument(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        if not name:
            raise InvalidArgument(f"{instruction} names can not be blank")
        result.append((name, _plain(value, environment)))
    return result


def _split(text: str) -> list[str]:
    found, word, position = [], "", 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match:
            word += match[0]
            position = match.end()
        elif text[position].isspace():
            found += [word] if word else []
            word, position = "", position + 1
        else:
            raise InvalidArgument(f"unexpected end of statement while looking for matching quote: {text!r}")
    return found + ([word] if word else [])


def _plain(word: str, environment: Mapping[str, str]) -> str:
    result, position = "", 0
    while position < len(word):
        quote = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""", re.DOTALL).match(word, position)
        variable = _VARIABLE.match(word, position)
        if quote:
            result += _unquote(quote[0], environment)
            position = quote.end()
        elif variable:
            result += _value(variable, environment)
            position = variable.end()
        else:
            result += word[position]
            position += 1
    return result


def _unquote(token: str, environment: Mapping[str, str]) -> str:
    if token[0] == "'":
        return token[1:-1]
    if token[0] == "\\":
        return token[1]
    pieces = re.split(r'(\\["\\$])', token[1:-1])
    return "".join(
        piece[1] if index % 2 else _VARIABLE.sub(lambda it: _value(it, environment), piece)
        for index, piece in enumerate(pieces)
    )


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    value = environment.get(match[1] or match[2], "")
    if match[3] == "-":
        return value or match[4]
    if match[3] == "+":
        return match[4] if value else ""
    return value
