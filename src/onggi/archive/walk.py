"""Goes through a directory tree by descriptor, in the order of names; nothing in it is followed or trusted.

A device or FIFO of a container is never opened, not even for a moment: what is opened was looked at before,
by the same descriptor.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from errno import ELOOP, ENOENT, ENOTDIR
from typing import NamedTuple

from onggi.archive.names import show
from onggi.errors import InvalidArgument
from onggi.kernel import syscalls

_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAX_PATH = 4095  # bytes, what unpacking takes; so that at most half as many directories are open at once
_GONE = (ENOENT, ENOTDIR, ELOOP)
# File systems that show the kernel's state: statfs(2), linux/magic.h.
_KERNEL = frozenset(
    (
        0x9FA0, 0x62656572, 0x27E0EB, 0x63677270, 0x64626720, 0x74726163, 0x73636673, 0xCAFE4A11, 0x6165676C,
        0x1CD1, 0x19800202, 0x62656570, 0xDE5E81E4, 0x6E736673, 0x42494E4D, 0x0187, 0xF97CFF8C, 0x7655821,
        0x65735543, 0x67596969,
    )
)  # fmt: skip


class Found(NamedTuple):
    """One name: its path below the top (``b""`` for that), what it is, its open descriptor if it is a file
    or directory (else -1), and where it leads if it is a symbolic link. Descriptors are the walk's, and valid
    until its next step.
    """

    path: bytes
    parent_fd: int
    name: bytes
    status: os.stat_result
    fd: int
    link: bytes = b""


class Opener:
    """Opens files by what they are. Made before a process leaves its root: it needs /proc."""

    def __init__(self) -> None:
        self._own_fds = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def open(self, parent_fd: int, name: bytes, path: bytes) -> Found | None:
        """What has the name, open if it is a file or directory; None if nothing has it (any more)."""
        try:
            handle = os.open(name, _PATH, dir_fd=parent_fd)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        try:
            found = self.reopen(handle)
            return Found(path, parent_fd, name, found.status, found.fd, found.link)
        finally:
            os.close(handle)

    def reopen(self, handle: int) -> Found:
        """What an O_PATH descriptor is of, as the top of a walk; the descriptor stays the caller's."""
        status = os.fstat(handle)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFLNK:
            return Found(b"", -1, b"", status, -1, os.readlink(b"", dir_fd=handle))
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            return Found(b"", -1, b"", status, -1)
        flags = _READ if kind == stat.S_IFREG else _READ | os.O_DIRECTORY
        return Found(b"", -1, b"", status, os.open(b"%d" % handle, flags, dir_fd=self._own_fds))


def walk(top: Found, opener: Opener, enter: Callable[[Found], bool]) -> Iterator[Found]:
    """The top and everything below it, directories before what they hold; ``enter`` says into which to go.

    What vanishes meanwhile is passed over. Raises InvalidArgument for a path that no archive could hold.
    """
    yield top
    if not stat.S_ISDIR(top.status.st_mode) or not enter(top):
        return
    stack = [(top, iter(_names(top.fd)))]
    try:
        while stack:
            directory, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                if stack:
                    os.close(directory.fd)
                continue
            path = b"%b/%b" % (directory.path, name) if directory.path else name
            if len(path) > _MAX_PATH:
                raise InvalidArgument(f"a path of {len(path)} bytes, too long for an archive: {show(path)}")
            found = opener.open(directory.fd, name, path)
            if found is None:
                continue
            entered = False
            try:
                yield found
                entered = stat.S_ISDIR(found.status.st_mode) and enter(found)
            finally:
                if not entered and found.fd >= 0:
                    os.close(found.fd)
            if entered:
                stack.append((found, iter(_names(found.fd))))
    finally:
        for directory, _ in stack[1:]:
            os.close(directory.fd)


def _names(fd: int) -> list[bytes]:
    return sorted(os.fsencode(name) for name in os.listdir(fd))


def is_kernels(fd: int) -> bool:
    """Whether a file lies on a file system that shows the kernel's state, such as /proc."""
    return syscalls.fstatfs_type(fd) in _KERNEL
