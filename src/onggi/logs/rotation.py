"""The numbered files of one log: ``name`` is written, ``name.1`` was written before it, and so on.

A file that was rotated away is compressed in slices between writes, because the monitor has one thread and a
terminal to serve.
"""

from __future__ import annotations

import os
import zlib

from onggi.kernel.files import write_all

_SLICE = 1 << 18
_GZIP = 31  # zlib's wbits for the gzip container


def numbered(path: str, number: int) -> str:
    """The name of the file that was rotated away ``number`` times."""
    return f"{path}.{number}" if number else path


def rotate(path: str, max_file: int) -> None:
    """Make room for a new ``path``; the oldest file is removed (with ``max_file`` 1, ``path`` itself)."""
    for suffix in ("", ".gz"):
        _unlink(numbered(path, max_file - 1) + suffix)
    for number in range(max_file - 2, 0, -1):
        for suffix in ("", ".gz"):
            _rename(numbered(path, number) + suffix, numbered(path, number + 1) + suffix)
    if max_file > 1:
        _rename(path, numbered(path, 1))


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # fewer files than allowed so far


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        pass  # a number that has not been reached yet


class Compressor:
    """Turns ``path`` into ``path.gz`` step by step; until it is done ``path`` is the truth."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._temporary = f"{path}.gz.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._target = os.open(self._temporary, flags, 0o600)
        except OSError:
            os.close(self._source)
            raise
        self._stream = zlib.compressobj(1, zlib.DEFLATED, _GZIP)

    def step(self) -> bool:
        """Compress one slice; True when the file is done. Raises OSError after cleaning up."""
        try:
            data = os.read(self._source, _SLICE)
            write_all(self._target, self._stream.compress(data) if data else self._stream.flush())
            if data:
                return False
            self._finish()
        except OSError:
            self.abandon()
            raise
        return True

    def _finish(self) -> None:
        # A follower that still stands in the plain file finds its place again by this time.
        changed = os.fstat(self._source)
        os.utime(self._target, ns=(changed.st_atime_ns, changed.st_mtime_ns))
        os.rename(self._temporary, f"{self._path}.gz")
        os.unlink(self._path)
        self._close()

    def abandon(self) -> None:
        """Leave the plain file as it is."""
        _unlink(self._temporary)
        self._close()

    def _close(self) -> None:
        os.close(self._source)
        os.close(self._target)
