"""What overlay writes into its upper directories: marks of deleted names and of opaque directories.

Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from errno import ELOOP, ENOENT, ENOTDIR
from typing import NamedTuple

from onggi.errors import KernelError
from onggi.kernel import paths


class Marks(NamedTuple):
    """How deleted names and opaque directories are marked: a device number and an attribute."""

    device: int
    opaque: str


OVERLAY = Marks(os.makedev(0, 0), "trusted.overlay.opaque")
# For a store that is not mounted but copied: an overlay, on which it may lie, refuses its own marks.
COPY = Marks(os.makedev(0, 1), "user.overlay.opaque")
DEVICES = (OVERLAY.device, COPY.device)
ATTRIBUTES = ("trusted.overlay.", "user.overlay.")  # overlay's own begin so
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def is_whiteout(status: os.stat_result) -> bool:
    """Whether it is the mark of a deleted name, a character device 0:0 (or the other one)."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev in DEVICES


def is_opaque(fd: int) -> bool:
    """Whether nothing of lower layers shows in a directory."""
    names = os.listxattr(fd)
    return any(it.opaque in names and os.getxattr(fd, it.opaque) == b"y" for it in (OVERLAY, COPY))


def make_whiteout(directory_fd: int, name: bytes, marks: Marks = OVERLAY) -> None:
    """Mark a name as deleted; FileExistsError if there is something."""
    os.mknod(name, stat.S_IFCHR, marks.device, dir_fd=directory_fd)


def mark_opaque(root_fd: int, directories: Iterable[bytes], marks: Marks = OVERLAY) -> None:
    """Let nothing of lower layers show in these directories; those that are gone are passed over. Overlay's
    own mark needs SYS_ADMIN.
    """
    for path in directories:
        try:
            fd = paths.open_in(root_fd, os.fsdecode(path), _DIRECTORY)
        except KernelError as error:
            if error.errno in (ENOENT, ENOTDIR, ELOOP):
                continue
            raise
        try:
            os.setxattr(fd, marks.opaque, b"y")
        finally:
            os.close(fd)
