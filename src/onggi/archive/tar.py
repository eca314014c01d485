"""Reads tar streams from a pipe: ustar, PAX and GNU long names (POSIX.1-2017 pax, GNU tar manual "Standard").

Strict where two readers could disagree about what an archive holds: checksums, sizes and PAX records must be
well-formed, a PAX ``size`` always wins over the header's, sparse files are refused by name.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from onggi.errors import InvalidArgument, Unsupported

BLOCK = 512
_BUFFER = 1 << 20
_MAX_EXTENSION = 1 << 20  # bytes of PAX records or of a GNU long name
_MAX_ID = (1 << 32) - 2
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_NULL_BLOCK = bytes(BLOCK)
_XATTR = b"SCHILY.xattr."

FILE, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"1": HARDLINK,
    b"2": SYMLINK,
    b"3": CHARACTER,
    b"4": BLOCK_DEVICE,
}
_KINDS |= {b"5": DIRECTORY, b"6": FIFO}
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE, _VOLUME = b"x", b"g", b"L", b"K", b"S", b"V"


class Entry(NamedTuple):
    """One member; ``size`` bytes of data follow it. ``mode`` are permission bits, ``device`` is (major,
    minor).
    """

    name: bytes
    kind: bytes
    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    link: bytes
    device: tuple[int, int]
    xattrs: dict[bytes, bytes]


class _Header(NamedTuple):
    name: bytes
    flag: bytes
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int
    link: bytes
    device: tuple[int, int]


class Reader:
    """Members of a stream, in order. The data of a member must be read before the next; what is left is
    skipped.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = memoryview(b"")
        self._left = 0  # data bytes of the current member
        self._padding = 0
        self.offset = 0  # bytes taken from the stream

    def next(self) -> Entry | None:
        """The next member, or None at the end. Raises InvalidArgument or Unsupported."""
        extended: dict[bytes, bytes] = {}
        while True:
            self._skip_data()
            block = self._exactly(BLOCK, end_allowed=True)
            if not block or block == _NULL_BLOCK:
                return None
            header = _parse_header(block)
            if header.flag == _PAX:
                extended |= parse_pax(self._extension(header))
            elif header.flag in (_LONG_NAME, _LONG_LINK):
                key = b"path" if header.flag == _LONG_NAME else b"linkpath"
                extended[key] = self._extension(header).rstrip(b"\0")
            elif header.flag in (_PAX_GLOBAL, _VOLUME):
                self._extension(
                    header
                )  # comments and labels; defaults for members are not honoured, as by docker
            else:
                entry = _entry(header, extended)
                self._set_data(entry.size)
                return entry

    def read(self) -> memoryview:
        """Some of the current member's data; empty at its end. Valid until the next call."""
        if not self._left:
            return memoryview(b"")
        if not self._buffer:
            self._fill()
        piece = self._buffer[: self._left]
        self._buffer = self._buffer[len(piece) :]
        self._left -= len(piece)
        return piece

    def drain(self) -> None:
        """Read the stream to its end: padding behind the last member belongs to its digest."""
        self._buffer = memoryview(b"")
        while chunk := os.read(self._fd, _BUFFER):
            self.offset += len(chunk)

    def _set_data(self, size: int) -> None:
        self._left, self._padding = size, -size % BLOCK

    def _skip_data(self) -> None:
        while self._left:
            self.read()
        if self._padding:
            self._exactly(self._padding)
            self._padding = 0

    def _extension(self, header: _Header) -> bytes:
        if header.size > _MAX_EXTENSION:
            raise InvalidArgument(f"invalid tar: an extended header of {header.size} bytes")
        data = self._exactly(header.size)
        self._padding = -header.size % BLOCK
        return data

    def _exactly(self, size: int, end_allowed: bool = False) -> bytes:
        if len(self._buffer) >= size:
            data, self._buffer = bytes(self._buffer[:size]), self._buffer[size:]
            return data
        parts, missing = [], size
        while missing:
            if not self._buffer:
                if end_allowed and missing == size and not self._fill(end_allowed=True):
                    return b""
                elif not self._buffer:
                    self._fill()
            piece = self._buffer[:missing]
            self._buffer = self._buffer[len(piece) :]
            parts.append(bytes(piece))
            missing -= len(piece)
        return b"".join(parts)

    def _fill(self, end_allowed: bool = False) -> bool:
        chunk = os.read(self._fd, _BUFFER)
        if not chunk and not end_allowed:
            raise InvalidArgument("invalid tar: unexpected end of the archive")
        self.offset += len(chunk)
        self._buffer = memoryview(chunk)
        return bool(chunk)


def _parse_header(block: bytes) -> _Header:
    (name, mode, uid, gid, size, mtime, checksum, flag, link, magic, _, _, _, major, minor, prefix) = (
        _HEADER.unpack(block)
    )
    _verify_checksum(block, checksum)
    name = _text(name)
    if magic == b"ustar\0" and prefix[0]:
        name = _text(prefix) + b"/" + name
    return _Header(
        name,
        flag,
        number(size, "size"),
        number(mode, "mode") & 0o7777,
        number(uid, "uid"),
        number(gid, "gid"),
        number(mtime, "mtime", signed=True),
        _text(link),
        (number(major, "device"), number(minor, "device")) if flag in (CHARACTER, BLOCK_DEVICE) else (0, 0),
    )


def _verify_checksum(block: bytes, field: bytes) -> None:
    digits = field.split(b"\0", 1)[0].strip(b" ")
    expected = int(digits, 8) if digits and not digits.strip(b"01234567") else -1
    unsigned = sum(block) - sum(block[148:156]) + 8 * 32
    if unsigned == expected:
        return
    # Some old tars summed signed characters.
    if unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:]) != expected:
        raise InvalidArgument("invalid tar header: wrong checksum (is it a tar archive?)")


def number(field: bytes, what: str, signed: bool = False) -> int:
    """A numeric header field: octal, or base 256 where the first bit is set. Raises InvalidArgument."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=True)
        value = value if field[0] == 0xFF else value + (1 << (8 * len(field) - 1))
    else:
        digits = field.split(b"\0", 1)[0].strip(b" ")
        if digits.strip(b"01234567"):
            raise InvalidArgument(f"invalid tar: {what} {field!r}")
        value = int(digits, 8) if digits else 0
    if value < 0 and not signed:
        raise InvalidArgument(f"invalid tar: negative {what}")
    return value


def parse_pax(data: bytes) -> dict[bytes, bytes]:
    """The records ``<length> <key>=<value>\\n`` of an extended header. Raises InvalidArgument."""
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        length = data[position:space]
        if space < 0 or not length.isdigit():
            raise InvalidArgument("invalid tar: malformed PAX record")
        end = position + int(length)
        record = data[space + 1 : end]
        if end > len(data) or not record.endswith(b"\n") or b"=" not in record:
            raise InvalidArgument("invalid tar: malformed PAX record")
        key, _, value = record[:-1].partition(b"=")
        records[key] = value
        position = end
    return records


def _entry(header: _Header, extended: dict[bytes, bytes]) -> Entry:
    name = extended.get(b"path", header.name)
    if header.flag == _SPARSE or any(key.startswith(b"GNU.sparse.") for key in extended):
        raise Unsupported(f"sparse file in tar archive: {show(name)}")
    kind = _KINDS.get(header.flag)
    if kind is None:
        raise Unsupported(f"tar entry of type {header.flag!r}: {show(name)}")
    if kind == FILE and header.flag == b"\0" and name.endswith(b"/"):
        kind = DIRECTORY  # as archives older than POSIX write them
    size = _decimal(extended, b"size", header.size)
    link = extended.get(b"linkpath", header.link)
    if b"\0" in name or b"\0" in link:
        raise InvalidArgument("invalid tar: a name with a NUL byte")
    uid, gid = _decimal(extended, b"uid", header.uid), _decimal(extended, b"gid", header.gid)
    if uid > _MAX_ID or gid > _MAX_ID:
        raise InvalidArgument(f"invalid tar: owner {uid}:{gid} of {show(name)} is out of range")
    mtime_ns = _seconds(extended[b"mtime"]) if b"mtime" in extended else header.mtime * 1_000_000_000
    xattrs = {key[len(_XATTR) :]: value for key, value in extended.items() if key.startswith(_XATTR)}
    size = size if kind == FILE else 0
    return Entry(name, kind, size, header.mode, uid, gid, mtime_ns, link, header.device, xattrs)


def _decimal(extended: dict[bytes, bytes], key: bytes, default: int) -> int:
    value = extended.get(key)
    if value is None:
        return default
    if not value.isdigit() or len(value) > 19:
        raise InvalidArgument(f"invalid tar: PAX {key.decode()} {value[:40]!r}")
    return int(value)


def _seconds(value: bytes) -> int:
    """Nanoseconds of a PAX time such as ``-1.5``."""
    whole, _, fraction = value.lstrip(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 12 or (fraction and not fraction.isdigit()):
        raise InvalidArgument(f"invalid tar: PAX mtime {value[:40]!r}")
    result = int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return -result if value.startswith(b"-") else result


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def show(name: bytes) -> str:
    """A name for an error message, short and printable."""
    return ascii(name[:200].decode("utf-8", "replace"))[1:-1]
