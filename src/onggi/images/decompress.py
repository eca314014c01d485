"""Decompression of archives while they stream: gzip, zstd, xz, bzip2 or plain, told apart by their first
bytes.

All in this process: an external program would be looked up, and could be replaced (CVE-2014-9357).
"""

from __future__ import annotations

import bz2
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from onggi.errors import InvalidArgument, Unsupported

Codec = Any  # bz2, lzma and zstd decompressors share a shape that no type in the standard library names


def _module(*names: str) -> Codec:
    """The first of these modules that this Python has, or None."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


_fast_zlib = _module("isal.isal_zlib", "zlib")
_zstd_module = _module("compression.zstd", "backports.zstd")
_STANDARD_ERRORS = (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError)
_ERRORS: tuple[type[Exception], ...] = (
    *_STANDARD_ERRORS,
    _fast_zlib.error,
    getattr(_zstd_module, "ZstdError", zlib.error),
)
_PIECE = 1 << 20
_XZ_MEMORY = 256 << 20
_ZSTD_WINDOW_LOG = 27  # 128 MiB, what zstd itself accepts by default
_MAGIC_SIZE = 6


class _Gzip:
    """zlib's decompressor in the same shape."""

    def __init__(self) -> None:
        self._codec: Any = _fast_zlib.decompressobj(31)
        self._tail = b""
        self._full = False

    @property
    def eof(self) -> bool:
        return bool(self._codec.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._codec.unused_data)

    @property
    def needs_input(self) -> bool:
        return not self._tail and not self._full

    def decompress(self, data: bytes, max_length: int) -> bytes:
        result = self._codec.decompress(self._tail + data, max_length)
        self._tail, self._full = self._codec.unconsumed_tail, len(result) >= max_length
        return bytes(result)


def _zstd() -> Codec:
    if _zstd_module is None:
        raise Unsupported("zstd archives need the Python package backports.zstd")
    options = {_zstd_module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    return _zstd_module.ZstdDecompressor(options=options)


def _xz() -> Codec:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


_FORMATS: tuple[tuple[bytes, str, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", "gzip", _Gzip),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
    (b"\xfd7zXZ\0", "xz", _xz),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
)


def is_compressed(head: bytes) -> bool:
    """Whether some content begins like one of the formats that are decompressed here."""
    return any(head.startswith(magic) for magic, _, _ in _FORMATS)


def plain_size(fd: int) -> int:
    """How many bytes a compressed file will give as far as it says so itself; 0 where it does not.

    gzip tells the size modulo 4 GiB in its last four bytes (RFC 1952), zstd in its first frame's header.
    """
    head = os.pread(fd, 32, 0)
    if head.startswith(_FORMATS[0][0]):
        return int.from_bytes(os.pread(fd, 4, max(0, os.fstat(fd).st_size - 4)), "little")
    if head.startswith(_FORMATS[1][0]) and _zstd_module is not None:
        try:
            return int(_zstd_module.get_frame_info(head).decompressed_size or 0)
        except _ERRORS:
            return 0  # whoever decompresses it will say what is wrong
    return 0


class Decompressor:
    """Turns pieces of a compressed stream into pieces of the plain one, of at most 1 MiB."""

    def __init__(self) -> None:
        self._head = b""
        self._format: tuple[bytes, str, Callable[[], Any]] | None = None
        self._codec: Any = None
        self._begun = False
        self._rest = b""  # bytes behind the end of a frame

    @property
    def begun(self) -> bool:
        """Whether enough has come to tell the format."""
        return self._begun

    @property
    def format(self) -> str:
        """``gzip``, ``zstd``, ``xz``, ``bzip2``, or empty for a plain stream or one that has not begun."""
        return self._format[1] if self._format else ""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plain bytes that these give. Raises InvalidArgument for a damaged stream."""
        if not self._begun:
            self._head += data
            if len(self._head) < _MAGIC_SIZE:
                return
            data = self._begin()
        yield from self._decode(data)

    def finish(self) -> Iterator[bytes]:
        """The last plain bytes; raises InvalidArgument if the stream is cut off."""
        yield from self._decode(b"" if self._begun else self._begin())
        if self._format and self._codec is not None:
            raise InvalidArgument(f"invalid {self._format[1]} stream: unexpected end")
        if self._rest.strip(b"\0"):
            raise InvalidArgument("invalid archive: something follows the compressed stream")

    def _begin(self) -> bytes:
        self._begun, head, self._head = True, self._head, b""
        self._format = next((it for it in _FORMATS if head.startswith(it[0])), None)
        return head

    def _decode(self, data: bytes) -> Iterator[bytes]:
        if self._format is None:
            if data:
                yield data
            return
        while True:
            if self._codec is None:
                self._rest += data
                if not self._next_frame():
                    return
                data, self._rest = self._rest, b""
            plain, data = self._step(data), b""
            if plain:
                yield plain
            if self._codec.eof:
                self._rest, self._codec = self._codec.unused_data, None
            elif self._codec.needs_input:
                return

    def _next_frame(self) -> bool:
        """Begin a frame where its first bytes have come. Raises InvalidArgument for anything but zeros."""
        assert self._format is not None
        magic, _, make = self._format
        if self._rest.startswith(magic):
            self._codec = make()
            return True
        if self._rest.strip(b"\0") and not magic.startswith(self._rest):
            raise InvalidArgument("invalid archive: something follows the compressed stream")
        if not self._rest.strip(b"\0"):
            self._rest = b""  # padding
        return False

    def _step(self, data: bytes) -> bytes:
        assert self._format is not None
        try:
            plain: bytes = self._codec.decompress(data, _PIECE)
        except _ERRORS as error:
            raise InvalidArgument(f"invalid {self._format[1]} stream: {error}") from None
        return plain
