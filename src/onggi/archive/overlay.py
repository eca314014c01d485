"""What overlay writes into its upper directories: marks of deleted names and of opaque directories.

Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from errno import ELOOP, ENOENT, ENOTDIR

from onggi.errors import KernelError
from onggi.kernel import paths

_OPAQUE = "trusted.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def is_whiteout(status: os.stat_result) -> bool:
    """Whether it is the mark of a deleted name, a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def make_whiteout(directory_fd: int, name: bytes) -> None:
    """Mark a name as deleted; FileExistsError if there is something."""
    os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory_fd)


def mark_opaque(root_fd: int, directories: Iterable[bytes]) -> None:
    """Let nothing of lower layers show in these directories; those that are gone are passed over. Needs
    SYS_ADMIN.
    """
    for path in directories:
        try:
            fd = paths.open_in(root_fd, os.fsdecode(path), _DIRECTORY)
        except KernelError as error:
            if error.errno in (ENOENT, ENOTDIR, ELOOP):
                continue
            raise
        try:
            os.setxattr(fd, _OPAQUE, b"y")
        finally:
            os.close(fd)
