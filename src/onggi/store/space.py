"""Room on the disk, asked for before something is written: a full disk is a clear error, not a half file.

And room that is kept back for what makes room: the row of an image that goes has to be written, too.
"""

from __future__ import annotations

import contextlib
import os
from errno import ENOSPC

from onggi.errors import KernelError
from onggi.kernel.failpoints import skipped

_RESERVE, _SHARE = 64 << 20, 20  # bytes that stay free for everybody else; at most a twentieth of a disk
_KEPT = 4 << 20  # bytes that a `Reserve` keeps back


def room(path: str | int) -> int:
    """How many bytes may be written where ``path`` (or a descriptor) lies; 0 if none.

    The step ``store.space`` can be put out of force: then whoever writes meets the full disk himself.
    """
    if skipped("store.space"):
        return 1 << 60
    return _room(path)


def _room(path: str | int) -> int:
    disk = os.statvfs(path)
    reserve = min(_RESERVE, disk.f_blocks * disk.f_frsize // _SHARE)
    return max(0, disk.f_bavail * disk.f_frsize - reserve)


def require(path: str, needed: int, what: str) -> None:
    """Raise KernelError (ENOSPC) that says what needs how much, unless there is room for it."""
    if needed > (free := room(path)):
        raise KernelError("write", ENOSPC, path, f"{what} needs {needed} bytes, {free} may be taken")


class Reserve:
    """A file whose blocks are given back to a full disk, for those who are about to free more."""

    def __init__(self, path: str) -> None:
        """What an earlier process kept goes on to be kept."""
        self._path = path
        self._kept = os.path.exists(path)

    def keep(self) -> None:
        """Take the room, if it is not taken and there is plenty."""
        if self._kept or _room(os.path.dirname(self._path)) < _KEPT:
            return
        with contextlib.suppress(OSError):  # somebody was quicker, and a later call tries again
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(fd, 0, _KEPT)
            finally:
                os.close(fd)
            self._kept = True

    def give(self) -> bool:
        """Give the room back; false if there was none. It is there at once, also on a disk with a journal."""
        if not self._kept:
            return False
        self._kept = False
        try:
            os.unlink(self._path)
            directory = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return True
