"""Files of the machine by path: state files, written whole or not at all, and directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def write_atomic(path: str, data: bytes, mode: int = 0o600, durable: bool = True) -> None:
    """Replace the file ``path`` by ``data``: temporary name beside it, then rename.

    ``durable`` also syncs file and directory. Without it the file outlives every kill, but not a power loss.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)  # whatever the umask
        write_all(fd, data)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    if durable:
        sync_directory(os.path.dirname(path) or ".")


def write_new(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a file that is not there yet; raises FileExistsError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, data)
        os.fchmod(fd, mode)  # whatever the umask
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte to a blocking descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: str) -> None:
    """Make renames and unlinks in a directory durable."""
    with directory(path) as fd:
        os.fsync(fd)


@contextmanager
def directory(path: str) -> Iterator[int]:
    """The descriptor of a directory, closed at the end."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def read_small(path: str, limit: int = 1 << 20) -> bytes:
    """The first ``limit`` bytes of a host file (procfs and sysfs files included)."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts, size = [], 0
        while size < limit and (chunk := os.read(fd, min(65536, limit - size))):
            parts.append(chunk)
            size += len(chunk)
        return b"".join(parts)
    finally:
        os.close(fd)
