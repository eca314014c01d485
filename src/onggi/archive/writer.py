"""Writes tar streams, the same bytes for the same members: ustar where it fits, PAX records where not.

The headers are those of Go's archive/tar in PAX format, which docker uses: no user and group names, times in
whole seconds, a record only for what ustar cannot hold.
"""

from __future__ import annotations

import os
import struct
import zlib

from onggi.archive import tar
from onggi.archive.names import show
from onggi.errors import InvalidArgument

_FLUSH = 1 << 18
_SMALL = 1 << 16  # bytes up to which a file is read into the buffer
_SEND = 1 << 30
_MAX_RECORDS = 1 << 20  # what readers take, our own among them
_HEADER = struct.Struct("100s48s8sc100s8s64x16s167x")
_LIMITS = (1 << 21, 1 << 21, 1 << 21, 1 << 33, 1 << 33)  # of mode, owners, size and time, in octal digits
_MAGIC = b"ustar\x0000"
_NAME_SIZE = 100
_EIGHT, _TWELVE = 7, 11  # octal digits of the two kinds of numbers
_BLANK = b" " * 8
_NULL = bytes(tar.BLOCK)
_KINDS_WITH_DEVICE = (tar.CHARACTER, tar.BLOCK_DEVICE)


class Writer:
    """Members to a pipe or file, in the order of the calls; the data of a file follows its header."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray()
        self.bytes = 0  # of file data

    def add(self, entry: tar.Entry) -> None:
        """A header; a directory's name ends in ``/``. Raises InvalidArgument if no reader would take it."""
        if not _fits(entry) and (records := _records(entry)):
            self._extended(entry, records)
        self._buffer += _header(entry)
        if len(self._buffer) >= _FLUSH:
            self.flush()

    def data(self, fd: int, size: int) -> None:
        """The ``size`` bytes of the member that was added last. A file that shrinks meanwhile ends in zeros,
        of one that grows no more is taken.
        """
        self.bytes += size
        if size <= _SMALL:
            self._read(fd, size)
        else:
            self.flush()
            self._zeros(size - self._send(fd, size))
        self._buffer += bytes(-size % tar.BLOCK)

    def finish(self) -> None:
        """Two zero blocks, and whatever is buffered."""
        self._buffer += _NULL * 2
        self.flush()

    def flush(self) -> None:
        """Pass on what is buffered."""
        view = memoryview(self._buffer)
        while view:
            view = view[os.write(self._fd, view) :]
        self._buffer = bytearray()

    def _extended(self, entry: tar.Entry, records: bytes) -> None:
        if len(records) > _MAX_RECORDS:
            raise InvalidArgument(f"{show(entry.name)} has too many extended attributes for an archive")
        directory, _, name = entry.name.rstrip(b"/").rpartition(b"/")
        alias = b"/".join(part for part in (directory, b"PaxHeaders.0", name) if part)
        size = len(records)
        self._buffer += _header(
            tar.Entry(alias[:_NAME_SIZE].rstrip(b"/"), b"x", size, 0, 0, 0, 0, b"", (0, 0), {})
        )
        self._buffer += records + bytes(-size % tar.BLOCK)

    def _read(self, fd: int, size: int) -> None:
        end = len(self._buffer) + size
        while (missing := end - len(self._buffer)) and (piece := os.read(fd, missing)):
            self._buffer += piece
        self._buffer += bytes(missing)
        if len(self._buffer) >= _FLUSH:
            self.flush()

    def _send(self, fd: int, size: int) -> int:
        """Let the kernel copy; the bytes there were."""
        sent = 0
        while sent < size:
            count = os.sendfile(self._fd, fd, None, min(size - sent, _SEND))
            if not count:
                break
            sent += count
        return sent

    def _zeros(self, size: int) -> None:
        while size:
            piece = min(size, _FLUSH)
            self._buffer += bytes(piece)
            self.flush()
            size -= piece


def _fits(entry: tar.Entry) -> bool:
    """Whether a ustar header says it all, as it mostly does: then there is no record to be looked for."""
    name, link = entry.name, entry.link
    return (
        not entry.xattrs
        and len(name) <= _NAME_SIZE
        and len(link) <= _NAME_SIZE
        and name.isascii()
        and link.isascii()
        and not entry.mtime_ns % 1_000_000_000
        and all(0 <= number < limit for number, limit in zip(_numbers(entry), _LIMITS, strict=True))
    )


def _numbers(entry: tar.Entry) -> tuple[int, int, int, int, int]:
    return entry.mode, entry.uid, entry.gid, entry.size, entry.mtime_ns // 1_000_000_000


def _records(entry: tar.Entry) -> bytes:
    """PAX records of what a ustar header cannot say, sorted by key."""
    found: dict[bytes, bytes] = {b"SCHILY.xattr." + key: value for key, value in entry.xattrs.items()}
    texts = {b"path": entry.name, b"linkpath": entry.link}
    numbers = {b"size": (entry.size, _TWELVE), b"uid": (entry.uid, _EIGHT), b"gid": (entry.gid, _EIGHT)}
    found |= {key: text for key, text in texts.items() if len(text) > _NAME_SIZE or not text.isascii()}
    found |= {key: b"%d" % number for key, (number, digits) in numbers.items() if number >> 3 * digits}
    seconds, nanoseconds = divmod(entry.mtime_ns, 1_000_000_000)
    if nanoseconds or not 0 <= seconds < 1 << 3 * _TWELVE:
        found[b"mtime"] = _time(entry.mtime_ns)
    return b"".join(record(key, found[key]) for key in sorted(found))


def record(key: bytes, value: bytes) -> bytes:
    """One PAX record; its length counts itself."""
    rest = len(key) + len(value) + 3
    size = rest + len(str(rest))
    if len(str(size)) != len(str(rest)):
        size = rest + len(str(size))
    return b"%d %b=%b\n" % (size, key, value)


def _time(nanoseconds: int) -> bytes:
    sign, (seconds, fraction) = b"-" if nanoseconds < 0 else b"", divmod(abs(nanoseconds), 1_000_000_000)
    digits = (b".%09d" % fraction).rstrip(b"0") if fraction else b""
    return b"%b%d%b" % (sign, seconds, digits)


def _header(entry: tar.Entry) -> bytes:
    # Zeros where a record says the number.
    fields = (it if 0 <= it < limit else 0 for it, limit in zip(_numbers(entry), _LIMITS, strict=True))
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % tuple(fields)
    device = entry.device if entry.kind in _KINDS_WITH_DEVICE else (0, 0)
    devices = b"%07o\0%07o\0" % tuple(it if 0 <= it < 1 << 21 else 0 for it in device)
    names = _ascii(entry.name), _ascii(entry.link)
    block = _HEADER.pack(names[0], numbers, _BLANK, entry.kind, names[1], _MAGIC, devices)
    # adler32 is the sum modulo 65521, which 512 ASCII characters cannot reach, and one.
    return b"%b%06o\0 %b" % (block[:148], (zlib.adler32(block) & 0xFFFF) - 1, block[156:])


def _ascii(name: bytes) -> bytes:
    """What a header shows of a name to readers without PAX."""
    return name if name.isascii() else bytes(byte for byte in name if byte < 128)
