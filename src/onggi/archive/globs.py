"""Patterns of paths: Go's ``filepath.Match`` for names, with ``**`` for any number of directories."""

from __future__ import annotations

import re
from collections.abc import Sequence

from onggi.errors import InvalidArgument

_META = b"*?[\\"
Compiled = list[tuple[bool, "re.Pattern[bytes]"]]  # whether it takes back, what it matches


def has_meta(pattern: bytes) -> bool:
    """Whether it is more than a name."""
    return any(byte in pattern for byte in _META)


def component(pattern: bytes) -> re.Pattern[bytes]:
    """A pattern of one name. Raises InvalidArgument."""
    return re.compile(_translate(pattern), re.DOTALL)


def excluding(patterns: Sequence[bytes]) -> Compiled:
    """Patterns of paths in order; ``!`` before one takes back what earlier ones matched."""
    return [_exclusion(pattern.strip()) for pattern in patterns if pattern.strip(b" /")]


def excluded(path: bytes, compiled: Compiled) -> bool:
    """Whether the last pattern that matches a path, or a directory above it, is none that takes back."""
    found = False
    for takes_back, pattern in compiled:
        if found == takes_back and pattern.fullmatch(path):
            found = not takes_back
    return found


def _exclusion(pattern: bytes) -> tuple[bool, re.Pattern[bytes]]:
    takes_back = pattern.startswith(b"!")
    parts = [part for part in pattern.removeprefix(b"!").split(b"/") if part not in (b"", b".")]
    text = b""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == b"**":
            text += b".*" if last else b"(?:.*/)?"
        else:
            text += _translate(part) + (b"" if last else b"/")
    return takes_back, re.compile(text + b"(?:/.*)?", re.DOTALL)


def _translate(pattern: bytes) -> bytes:
    result, position = b"", 0
    while position < len(pattern):
        byte = pattern[position : position + 1]
        position += 1
        if byte == b"*":
            result = result.removesuffix(b"[^/]*") + b"[^/]*"
        elif byte == b"?":
            result += b"[^/]"
        elif byte == b"[":
            end = pattern.find(
                b"]", position + 2 if pattern[position : position + 1] == b"^" else position + 1
            )
            if end < 0:
                raise _bad(pattern)
            result += _set(pattern[position:end], pattern)
            position = end + 1
        else:
            if byte == b"\\":
                byte, position = pattern[position : position + 1], position + 1
                if not byte:
                    raise _bad(pattern)
            result += re.escape(byte)
    return result


def _set(inner: bytes, pattern: bytes) -> bytes:
    negated = inner.startswith(b"^")
    inner = inner.removeprefix(b"^")
    if not inner:
        raise _bad(pattern)
    plain = re.sub(rb"[\\\[\]^&~|]", lambda it: b"\\" + it[0], inner)
    try:
        re.compile(b"[%b]" % plain)
    except re.error:
        raise _bad(pattern) from None
    return b"[%b%b]" % (b"^/" if negated else b"", plain)


def _bad(pattern: bytes) -> InvalidArgument:
    return InvalidArgument(f"syntax error in pattern {pattern.decode('utf-8', 'replace')!r}")
