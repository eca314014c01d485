"""Reads a container's log across its rotated files, and follows it while it grows.

Nothing here waits: ``Cursor.read_more`` gives what is there, ``fileno()`` is readable when more may be.
"""

from __future__ import annotations

import os
import zlib
from typing import NamedTuple

from onggi.frames import STDERR, STDOUT
from onggi.kernel.inotify import DIRECTORY_CHANGES, Watch
from onggi.logs.files import format_of, log_path
from onggi.logs.record import Format, Record
from onggi.logs.rotation import numbered

_BLOCK = 1 << 16  # also how much a reader holds that does not go on
_GZIP = 31
BOTH = frozenset((STDOUT, STDERR))


class _File:
    """One file of a log, open for reading; a compressed one is read through, in blocks of what it holds."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self.fd)
        self.inode, self.changed_ns = status.st_ino, status.st_mtime_ns
        self.compressed = path.endswith(".gz")
        self._skip = 0
        self._go_to(0)

    def _go_to(self, position: int) -> None:
        self.position, self._rest = position, b""
        self._inflate = zlib.decompressobj(_GZIP) if self.compressed else None

    def seek_tail(self, form: Format, count: int) -> int:
        """Go to the last ``count`` records, of which so many are here; a compressed file is counted first."""
        if not self.compressed:
            position, found = form.tail_offset(self.fd, os.fstat(self.fd).st_size, count)
            self._go_to(position)
            return found
        total, more = 0, True
        while more:
            records, more = self.parse_more(form)
            total += len(records)
        self._go_to(0)
        self._skip = max(total - count, 0)
        return total - self._skip

    def parse_more(self, form: Format) -> tuple[list[Record], bool]:
        """Some further whole records, and whether anything was read at all."""
        block = self._inflated() if self._inflate else self._read()
        if not block:
            return [], False
        data = self._rest + block
        records, used = form.parse(data)
        self._rest = data[used:]
        skipped = min(self._skip, len(records))
        self._skip -= skipped
        return records[skipped:], True

    def _inflated(self) -> bytes:
        """At most a block, whatever it came from: a thousand zeros are one byte of a file."""
        assert self._inflate
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._read()
            block = self._inflate.decompress(packed, _BLOCK)
            if block or not packed:
                return block
        return b""

    def _read(self) -> bytes:
        block = os.pread(self.fd, _BLOCK, self.position)
        self.position += len(block)
        return block

    def close(self) -> None:
        os.close(self.fd)


class Selection(NamedTuple):
    """What to read: the last ``tail`` records (-1: all) of ``streams``, in [since_ns, until_ns] (0: open).

    As docker does, the tail is counted before the other conditions apply.
    """

    tail: int = -1
    since_ns: int = 0
    until_ns: int = 0
    streams: frozenset[int] = BOTH

    def wants(self, record: Record) -> bool:
        if record.stream not in self.streams or record.time_ns < self.since_ns:
            return False
        return not self.until_ns or record.time_ns <= self.until_ns


EVERYTHING = Selection()


class Cursor:
    """A place in a log. Close it; it holds descriptors of every file it has still to read."""

    def __init__(self, path: str, form: Format, selection: Selection, *, follow: bool) -> None:
        self._path, self._format, self._selection = path, form, selection
        self._watch = Watch(os.path.dirname(path), DIRECTORY_CHANGES) if follow else None
        self._files = _open_files(path)
        self._current: _File | None = None
        if selection.tail >= 0:
            self._seek_tail(selection.tail)

    def fileno(self) -> int:
        """Readable when the log may have grown (follow only, else -1)."""
        return self._watch.fileno() if self._watch else -1

    def read_more(self) -> list[Record]:
        """Some further records that are wanted, oldest first, of one block where there are any; empty: no
        more for now.
        """
        if self._watch:
            self._watch.drain()  # before reading: what is written from now on makes it readable again
        chosen: list[Record] = []
        while not chosen:
            records = self._next_records()
            if records is None:
                break
            chosen = [record for record in records if self._selection.wants(record)]
        return chosen

    def close(self) -> None:
        """Give up every descriptor. Idempotent."""
        for file in (*self._files, *((self._current,) if self._current else ())):
            file.close()
        self._files, self._current = [], None
        if self._watch:
            self._watch.close()
            self._watch = None

    def _next_records(self) -> list[Record] | None:
        while True:
            if not self._current and not self._advance():
                return None
            assert self._current
            records, more = self._current.parse_more(self._format)
            if more:
                return records
            if not self._advance():
                return None

    def _advance(self) -> bool:
        """Go to the next file, if there is one; what the current one got meanwhile is read first."""
        if not self._files and self._watch:
            self._files = self._newer_files()
        if not self._files:
            return False
        if self._current:
            if not self._current.compressed and os.fstat(self._current.fd).st_size > self._current.position:
                return True  # written between our last read and its rotation
            self._current.close()
        self._current = self._files.pop(0)
        return True

    def _newer_files(self) -> list[_File]:
        current = self._current
        if current and _inode(self._path) == current.inode:
            return []
        files = _open_files(self._path)
        if not current:
            return files
        changed_ns = os.fstat(current.fd).st_mtime_ns  # set once for all when it was rotated away
        for index, file in enumerate(files):
            same = file.changed_ns == changed_ns if file.compressed else file.inode == current.inode
            if same:
                for passed in files[: index + 1]:
                    passed.close()
                return files[index + 1 :]
        return files  # ours was removed by rotation meanwhile: what is left is all there is

    def _seek_tail(self, count: int) -> None:
        """Go to the last ``count`` records, and give up the files that have none of them."""
        keep: list[_File] = []
        while self._files:
            file = self._files.pop()
            if count <= 0 and keep:
                file.close()
                continue
            count -= file.seek_tail(self._format, count)
            keep.insert(0, file)
        self._files = keep


class Reader:
    """Reads one container's log; ``driver`` none has nothing to read."""

    def __init__(self, directory: str, driver: str) -> None:
        self._format = format_of(driver)
        self._path = log_path(driver, directory)

    def open(self, selection: Selection = EVERYTHING, *, follow: bool = False) -> Cursor:
        """A cursor before the first record selected."""
        return Cursor(self._path, self._format, selection, follow=follow)


def _open_files(path: str) -> list[_File]:
    """Every file of a log, oldest first, as of one moment: if it was rotated meanwhile, look again."""
    while True:
        files = _open_newest_first(path)
        newest = next(iter(files), None)
        if newest is None or _inode(path) in (newest.inode, 0):
            return files[::-1]
        for file in files:
            file.close()


def _open_newest_first(path: str) -> list[_File]:
    files: list[_File] = []
    number = 0
    while (file := _open_one(numbered(path, number))) or number == 0:
        if file and file.inode not in {other.inode for other in files}:
            files.append(file)
        elif file:
            file.close()
        number += 1
    return files


def _open_one(path: str) -> _File | None:
    for name in (path, f"{path}.gz"):
        try:
            return _File(name)
        except FileNotFoundError:
            continue
    return None


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0  # between two renames of a rotation
