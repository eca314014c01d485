"""Patterns of names: Go's ``filepath.Match``. Those of whole paths are in `ignore`."""

from __future__ import annotations

import re

from onggi.errors import InvalidArgument

_META = b"*?[\\"


def has_meta(pattern: bytes) -> bool:
    """Whether it is more than a name."""
    return any(byte in pattern for byte in _META)


def component(pattern: bytes) -> re.Pattern[bytes]:
    """A pattern of one name. Raises InvalidArgument."""
    return re.compile(_translate(pattern), re.DOTALL)


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
