"""Passwords of a registry: an htpasswd file with bcrypt, the only format that docker's registry takes.

htpasswd -nbB NAME PASSWORD >> FILE
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re

from onggi.errors import InvalidArgument

MAX_BYTES = 1 << 20
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_MAX_COST = 14  # above, one wrong password takes seconds of a processor
_MAX_PASSWORD = 72  # bytes that bcrypt looks at
_MAX_REMEMBERED = 1000


class Users:
    """Names and password hashes. What was right once is remembered, since hashing is meant to be slow."""

    def __init__(self, text: str) -> None:
        """Parse a file. Raises InvalidArgument naming the line, never its content."""
        self._hashes: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                name, hashed = _entry(line.strip(), number)
                self._hashes[name] = hashed
        if not self._hashes:
            raise InvalidArgument("the htpasswd file has no users")
        # A name that does not exist takes as long as one that does.
        self._nobody = next(iter(self._hashes.values()))
        self._key, self._right = os.urandom(32), set[bytes]()

    def remembered(self, name: str, password: bytes) -> bool:
        """Whether these were right before; at once."""
        return self._mark(name, password) in self._right

    def check(self, name: str, password: bytes) -> bool:
        """Whether the password is this user's. Blocking: milliseconds to a second of a processor."""
        import bcrypt  # only where a registry has passwords

        hashed = self._hashes.get(name)
        right = bcrypt.checkpw(password[:_MAX_PASSWORD], hashed or self._nobody) and hashed is not None
        if right:
            if len(self._right) >= _MAX_REMEMBERED:
                self._right.clear()
            self._right.add(self._mark(name, password))
        return right

    def _mark(self, name: str, password: bytes) -> bytes:
        return hmac.digest(self._key, name.encode() + b"\0" + password, "sha256")


def _entry(line: str, number: int) -> tuple[str, bytes]:
    name, colon, hashed = line.partition(":")
    match = _HASH.fullmatch(hashed)
    if not name or not colon or match is None:
        raise InvalidArgument(
            f"htpasswd, line {number}: expected NAME:HASH with a bcrypt hash, as `htpasswd -B` writes it"
        )
    if not 4 <= int(match[1]) <= _MAX_COST:
        raise InvalidArgument(f"htpasswd, line {number}: the cost must be from 4 to {_MAX_COST}")
    return name, hashed.encode("ascii")


def basic(header: str) -> tuple[str, bytes] | None:
    """Name and password of an Authorization header, RFC 7617; None if it has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None
