"""Reads tar streams from pipes or in pieces: ustar, PAX, GNU (POSIX.1-2017 pax, GNU tar manual "Standard").

Strict where two readers could disagree about what an archive holds: checksums, sizes and PAX records must be
well-formed, a PAX ``size`` always wins over the header's, a name is not given twice.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from onggi.archive import sparse
from onggi.archive.names import show
from onggi.errors import InvalidArgument, Unsupported

BLOCK = 512
_BUFFER = 1 << 20
_MAX_EXTENSION = 1 << 20  # bytes of PAX records or of a GNU long name
_MAX_ID = (1 << 32) - 2
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_NULL_BLOCK = bytes(BLOCK)
_XATTR = b"SCHILY.xattr."
_USTAR, _GNU = b"ustar\0", b"ustar  \0"  # the latter with its version

FILE, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE, _VOLUME = b"x", b"g", b"L", b"K", b"S", b"V"
_KINDS = {kind: kind for kind in (FILE, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO)}
_KINDS |= {b"\0": FILE, b"7": FILE, _SPARSE: FILE}
_BEFORE = {_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _VOLUME}  # what is not a member


class Entry(NamedTuple):
    """One member, and a file of ``size`` bytes. ``mode`` are permission bits, ``device`` is (major, minor);
    ``stretches`` says where the data of a sparse file lies in it.
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
    stretches: sparse.Map | None = None


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
    gnu: bool


class Reader:
    """Members of a stream, in order. The data of a member must be read before the next; what is left is
    skipped.
    """

    def __init__(self, source: int | Iterator[bytes]) -> None:
        """``source`` is a descriptor, or the stream in pieces, none of them empty."""
        self._pieces = None if isinstance(source, int) else source
        self._fd = source if isinstance(source, int) else -1
        self._buffer = memoryview(bytearray(_BUFFER if self._pieces is None else 0))
        self._start = self._end = 0  # what of the buffer is filled
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
            if header.flag not in _BEFORE:
                return self._member(header, extended, block)
            data = self._extension(header)
            # Comments and labels are no concern of ours; defaults for members are not honoured, as by docker.
            if header.flag not in (_PAX_GLOBAL, _VOLUME):
                _extend(extended, header.flag, data)

    def read(self, limit: int = _BUFFER) -> memoryview:
        """Some of the current member's data; empty at its end. Valid until the next call."""
        if not self._left:
            return self._buffer[:0]
        if self._start == self._end:
            self._fill()
        start = self._start
        self._start = min(start + min(self._left, limit), self._end)
        self._left -= self._start - start
        return self._buffer[start : self._start]

    def drain(self) -> None:
        """Read the stream to its end: padding behind the last member belongs to its digest."""
        while self._fill(end_allowed=True):
            pass

    def _member(self, header: _Header, extended: dict[bytes, bytes], block: bytes) -> Entry:
        entry = _entry(header, extended)
        self._left, self._padding = entry.size, -entry.size % BLOCK
        if header.flag == _SPARSE:
            return self._old_sparse(header, entry, block)
        if extended and sparse.is_pax(extended):
            return self._pax_sparse(entry, extended)
        return entry

    def _old_sparse(self, header: _Header, entry: Entry, block: bytes) -> Entry:
        if not header.gnu:
            raise Unsupported(f"sparse file in a tar archive that is not GNU's: {show(entry.name)}")
        stretches = sparse.old_gnu(block, lambda: self._exactly(BLOCK), number)
        return _whole(entry, stretches, self._left, sparse.old_real_size(block, number))

    def _pax_sparse(self, entry: Entry, extended: dict[bytes, bytes]) -> Entry:
        if entry.kind != FILE:
            raise InvalidArgument(f"invalid tar: {show(entry.name)} is sparse and no file")
        stretches = sparse.pax_map(extended, self._take)
        name = sparse.pax_name(extended) or entry.name
        return _whole(entry._replace(name=name), stretches, self._left, sparse.pax_real_size(extended))

    def _take(self, size: int) -> bytes:
        """Exactly so many bytes of the current member's data."""
        if size > self._left:
            raise InvalidArgument("invalid tar: a malformed map of a sparse file")
        self._left -= size
        return self._exactly(size)

    def _skip_data(self) -> None:
        while self._left:
            self.read()
        if self._padding:
            # docker's command sends contexts that end with the data of their last file.
            self._exactly(self._padding, end_allowed=True)
            self._padding = 0

    def _extension(self, header: _Header) -> bytes:
        if header.size > _MAX_EXTENSION:
            raise InvalidArgument(f"invalid tar: an extended header of {header.size} bytes")
        data = self._exactly(header.size)
        self._padding = -header.size % BLOCK
        return data

    def _exactly(self, size: int, end_allowed: bool = False) -> bytes:
        start = self._start
        if self._end - start >= size:
            self._start = start + size
            return bytes(self._buffer[start : start + size])
        parts, missing = [], size
        while missing:
            if self._start == self._end and not self._fill(end_allowed and missing == size):
                return b""
            piece = self._buffer[self._start : min(self._start + missing, self._end)]
            self._start += len(piece)
            parts.append(bytes(piece))
            missing -= len(piece)
        return b"".join(parts)

    def _fill(self, end_allowed: bool = False) -> bool:
        if self._pieces is None:
            self._start, self._end = 0, os.readv(self._fd, [self._buffer])
        else:
            self._buffer = memoryview(next(self._pieces, b""))
            self._start, self._end = 0, len(self._buffer)
        if not self._end and not end_allowed:
            raise InvalidArgument("invalid tar: unexpected end of the archive")
        self.offset += self._end
        return self._end > 0


def _parse_header(block: bytes) -> _Header:
    (name, mode, uid, gid, size, mtime, checksum, flag, link, magic, _, _, major, minor, prefix) = (
        _HEADER.unpack(block)
    )
    _verify_checksum(block, checksum)
    name = _text(name)
    if prefix[0] and magic.startswith(_USTAR):
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
        magic == _GNU,
    )


def _verify_checksum(block: bytes, field: bytes) -> None:
    digits = _text(field).strip(b" ")
    expected = int(digits, 8) if digits and not digits.strip(b"01234567") else -1
    # adler32 has the sum modulo 65521, which 512 ASCII characters cannot reach, in a tenth of the time.
    total = (zlib.adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)
    unsigned = total - sum(field) + 8 * 32
    if unsigned == expected:
        return
    # Some old tars summed signed characters.
    if unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:]) != expected:
        raise InvalidArgument("invalid tar header: wrong checksum (is it a tar archive?)")


def number(field: bytes, what: str, signed: bool = False) -> int:
    """A numeric header field: octal, or base 256 where the first bit is set. Raises InvalidArgument."""
    if field[0] < 0x80:
        if field[-1] == 0 and (usual := field[:-1]).isdigit() and not usual.strip(b"01234567"):
            return int(usual, 8)
        digits = field.split(b"\0", 1)[0].strip(b" ")
        if digits.strip(b"01234567"):
            raise InvalidArgument(f"invalid tar: {what} {field!r}")
        return int(digits, 8) if digits else 0
    value = int.from_bytes(field, "big", signed=True)
    value = value if field[0] == 0xFF else value + (1 << (8 * len(field) - 1))
    if value < 0 and not signed:
        raise InvalidArgument(f"invalid tar: negative {what}")
    return value


def _extend(extended: dict[bytes, bytes], flag: bytes, data: bytes) -> None:
    """Add what an extended header says of the member that follows."""
    long_name = {_LONG_NAME: b"path", _LONG_LINK: b"linkpath"}.get(flag)
    fresh = {long_name: data.rstrip(b"\0")} if long_name else parse_pax(data)
    for key in (b"path", b"linkpath"):
        # Readers differ in which of two they believe.
        if key in fresh and extended.get(key, fresh[key]) != fresh[key]:
            raise InvalidArgument(f"invalid tar: two names for one member, one is {show(fresh[key])}")
    extended |= fresh


def parse_pax(data: bytes) -> dict[bytes, bytes]:
    """The records ``<length> <key>=<value>\\n`` of an extended header. Raises InvalidArgument."""
    records: dict[bytes, bytes] = {}
    stretches: list[bytes] = []
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
        if key in (sparse.PAX_OFFSET, sparse.PAX_LENGTH):
            # The one notation in which a key is repeated.
            if (key == sparse.PAX_LENGTH) != len(stretches) % 2:
                raise InvalidArgument("invalid tar: a malformed map of a sparse file")
            stretches.append(value)
        records[key] = value
        position = end
    if stretches:
        records[sparse.PAX_MAP] = b",".join(stretches)
    return records


def _entry(header: _Header, extended: dict[bytes, bytes]) -> Entry:
    kind = _KINDS.get(header.flag)
    name, link, size = header.name, header.link, header.size
    uid, gid, mtime_ns, xattrs = header.uid, header.gid, header.mtime * 1_000_000_000, {}
    if extended:  # an empty value leaves the header's
        name, link = extended.get(b"path") or name, extended.get(b"linkpath") or link
        size, uid, gid = (
            _decimal(extended, key, default)
            for key, default in ((b"size", size), (b"uid", uid), (b"gid", gid))
        )
        mtime_ns = _seconds(extended[b"mtime"]) if extended.get(b"mtime") else mtime_ns
        xattrs = {key[len(_XATTR) :]: value for key, value in extended.items() if key.startswith(_XATTR)}
        if b"\0" in name or b"\0" in link:
            raise InvalidArgument("invalid tar: a name with a NUL byte")
    if kind is None:
        raise Unsupported(f"tar entry of type {header.flag!r}: {show(name)}")
    if kind == FILE and header.flag == b"\0" and name.endswith(b"/"):
        kind = DIRECTORY  # as archives older than POSIX write them
    if uid > _MAX_ID or gid > _MAX_ID:
        raise InvalidArgument(f"invalid tar: owner {uid}:{gid} of {show(name)} is out of range")
    size = size if kind == FILE else 0
    return Entry(name, kind, size, header.mode, uid, gid, mtime_ns, link, header.device, xattrs)


def _whole(entry: Entry, stretches: sparse.Map, stored: int, real_size: int) -> Entry:
    """A sparse file's member with the size that the file will have."""
    return entry._replace(size=real_size, stretches=sparse.check(stretches, stored, real_size))


def _decimal(extended: dict[bytes, bytes], key: bytes, default: int) -> int:
    value = extended.get(key)
    if not value:
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


def write_data(fd: int, entry: Entry, reader: Reader) -> None:
    """The data of a new file; what the archive has not of a sparse one stays a hole."""
    if entry.stretches is None:
        while piece := reader.read():
            _write(fd, piece)
        return
    for offset, length in entry.stretches:
        os.lseek(fd, offset, os.SEEK_SET)
        while length:
            piece = reader.read(length)
            length -= len(piece)
            _write(fd, piece)
    os.ftruncate(fd, entry.size)


def _write(fd: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]
