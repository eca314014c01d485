"""JSON bodies as dockerd reads them, with what Go says of malformed ones."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from onggi.errors import InvalidArgument

Json = Any
_PLACE = re.compile(r"JSON is malformed: (.*) \(byte (\d+)\)")
# What msgspec tells, and what Go does of the character there.
_WORDS = {
    "object keys must be strings": "looking for beginning of object key string",
    "trailing comma in object": "looking for beginning of object key string",
    "trailing comma in array": "looking for beginning of value",
    "invalid character": "looking for beginning of value",
    "expected ':'": "after object key",
    "expected ',' or '}'": "after object key:value pair",
    "expected ',' or ']'": "after array element",
    "invalid number": "in numeric literal",
}


def decode(data: bytes) -> Json:
    """The value; what is no UTF-8 becomes U+FFFD. Raises InvalidArgument."""
    try:
        return msgspec.json.decode(data)
    except UnicodeDecodeError:
        return decode(data.decode("utf-8", "replace").encode())
    except msgspec.DecodeError as error:
        raise InvalidArgument(_words(str(error), data)) from None
    except RecursionError:
        raise InvalidArgument("invalid JSON: nested too deeply") from None


def _words(told: str, data: bytes) -> str:
    if not data.strip():
        return "invalid JSON: got EOF while reading request body"
    match = _PLACE.fullmatch(told)
    if match is None:
        return "invalid JSON: unexpected EOF"
    what, place = match[1], int(match[2])
    if what == "trailing characters":
        return "unexpected content after JSON"
    if what not in _WORDS or place >= len(data):
        return f"invalid JSON: {what} at byte {place}"
    character = chr(data[place])
    shown = character if character.isascii() and character.isprintable() else f"\\x{data[place]:02x}"
    return f"invalid JSON: invalid character '{shown}' {_WORDS[what]}"
