"""Blobs on their way in: files below ``ingest``, hashed while they are written. Blocking, for worker threads.

A blob whose digest is known lies under its hexadecimal name and is taken up again by the next writer, even of
a later process. What has no digest yet, or is being written by another already, is ``tmp-*`` and dies with
its writer.
"""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from onggi.errors import DataLoss, InvalidArgument, KernelError
from onggi.kernel.files import write_all
from onggi.oci.digest import hex_of
from onggi.store import space
from onggi.store.durable import sync_file

_PIECE = 1 << 20
_CHECK_EVERY = 32 << 20  # bytes between two looks at the room that is left
_PARTIAL = re.compile(r"[0-9a-f]{64}")


class Blob(NamedTuple):
    """Some content: its digest and its number of bytes."""

    digest: str
    size: int


class BlobWriter:
    """One blob's bytes, in order. For one thread at a time; ``offset`` is how many bytes are there."""

    def __init__(self, path: str, expected: Blob | None, release: Callable[[], None]) -> None:
        """Open the file, with what an earlier writer left. Raises KernelError, ENOSPC if there is no room."""
        self.path, self.expected, self._release = path, expected, release
        self.offset = self._checked = 0
        self._hash = sha256()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            release()
            raise KernelError("open", error.errno or 0, path) from None
        try:
            self._take_up()
            self._check_room()
        except BaseException:
            self.close()
            raise

    def write(self, data: bytes | memoryview) -> None:
        """Add some bytes. Raises InvalidArgument if the blob gets longer than it may be, or KernelError."""
        end = self.offset + len(data)
        if self.expected and end > self.expected.size:
            self.discard()
            raise InvalidArgument(
                f"unexpected commit size: blob {self.expected.digest} has more than the expected "
                f"{self.expected.size} bytes"
            )
        if end >= self._checked:
            self._check_room()
        try:
            write_all(self._fd, data)
        except OSError as error:
            raise KernelError("write", error.errno or 0, self.path) from None
        self._hash.update(data)
        self.offset = end

    @property
    def digest(self) -> str:
        """The digest of what is there."""
        return "sha256:" + self._hash.hexdigest()

    def seek_back_to_zero(self) -> None:
        """Forget what is there: its source cannot continue where it ended."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.offset = self._checked = 0
        self._hash = sha256()

    def finish(self, digest: str = "", *, durable: bool = True) -> Blob:
        """Verify what was written, make it immutable and mostly durable; it keeps its path until it is
        published.

        ``digest`` is what it should be, if the writer did not know it from the beginning. Raises DataLoss;
        a blob that is merely too short stays to be continued.
        """
        found = Blob(self.digest, self.offset)
        if self.expected and found.size != self.expected.size:
            self.close()
            raise DataLoss(
                f"unexpected commit size {found.size}, expected {self.expected.size} "
                f"of blob {self.expected.digest}"
            )
        wanted = self.expected.digest if self.expected else digest
        if wanted and found.digest != wanted:
            self.discard()
            raise DataLoss(
                f"filesystem layer verification failed for digest {wanted}: "
                f"unexpected commit digest {found.digest}, expected {wanted}"
            )
        try:
            os.fchmod(self._fd, 0o444)
            if durable:
                sync_file(self._fd)
        except OSError as error:
            raise KernelError("fsync", error.errno or 0, self.path) from None
        return found

    def close(self) -> None:
        """Let go; what was written of a known digest stays to be continued. Idempotent."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        if os.path.basename(self.path).startswith("tmp-"):
            _unlink(self.path)  # nothing is there any more if it was published
        self._release()

    def discard(self) -> None:
        """Let go and keep nothing. Idempotent."""
        if self._fd >= 0:
            _unlink(self.path)
        self.close()

    def _take_up(self) -> None:
        size = os.fstat(self._fd).st_size
        if self.expected and size > self.expected.size:
            os.ftruncate(self._fd, 0)
        while piece := os.read(self._fd, _PIECE):
            self._hash.update(piece)
            self.offset += len(piece)

    def _check_room(self) -> None:
        needed = self.expected.size - self.offset if self.expected else 1
        what = f"blob {self.expected.digest}" if self.expected else "a blob"
        space.require(os.path.dirname(self.path), needed, what)
        self._checked = self.offset + _CHECK_EVERY


class Ingest:
    """The directory of partial blobs. Thread-safe."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def writer(self, digest: str, size: int) -> BlobWriter:
        """A writer of known content, behind what an earlier one left (which is hashed here: it takes time).

        Only one at a time continues a partial blob; a second begins one of its own.
        """
        name = hex_of(digest)
        if size < 0:
            raise InvalidArgument(f"invalid size {size} of blob {digest}")
        with self._lock:
            free = name not in self._busy
            self._busy.add(name)
        return self._open(name, Blob(digest, size)) if free else self._temporary(Blob(digest, size))

    def stream(self) -> BlobWriter:
        """A writer of content whose digest is known at its end."""
        return self._temporary(None)

    def recover(self) -> None:
        """At start: delete what no writer can continue."""
        for name in os.listdir(self._directory):
            if not _PARTIAL.fullmatch(name):
                _unlink(f"{self._directory}/{name}")

    def drop(self, wanted: AbstractSet[str]) -> None:
        """Delete partial blobs that are not ``wanted`` (digests) and have no writer."""
        for name in os.listdir(self._directory):
            with self._lock:
                if _PARTIAL.fullmatch(name) and name not in self._busy and f"sha256:{name}" not in wanted:
                    _unlink(f"{self._directory}/{name}")

    def size(self) -> int:
        """Bytes on disk of all partial blobs."""
        total = 0
        for name in os.listdir(self._directory):
            with suppress(FileNotFoundError):  # published or given up meanwhile
                total += os.stat(f"{self._directory}/{name}").st_blocks * 512
        return total

    def unwanted(self, wanted: AbstractSet[str]) -> list[str]:
        """Names of files that have no writer and are not ``wanted`` (digests)."""
        listed = sorted(os.listdir(self._directory))
        with self._lock:
            return [name for name in listed if name not in self._busy and f"sha256:{name}" not in wanted]

    def _temporary(self, expected: Blob | None) -> BlobWriter:
        name = f"tmp-{uuid.uuid4().hex}"
        with self._lock:
            self._busy.add(name)
        return self._open(name, expected)

    def _open(self, name: str, expected: Blob | None) -> BlobWriter:
        return BlobWriter(f"{self._directory}/{name}", expected, partial(self._release, name))

    def _release(self, name: str) -> None:
        with self._lock:
            self._busy.discard(name)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return  # gone already
