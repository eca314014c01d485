"""Room on the disk, asked for before something is written: a full disk is a clear error, not a half file."""

from __future__ import annotations

import os
from errno import ENOSPC

from onggi.errors import KernelError
from onggi.kernel.failpoints import skipped

_RESERVE, _SHARE = 64 << 20, 20  # bytes that stay free for everybody else; at most a twentieth of a disk


def room(path: str | int) -> int:
    """How many bytes may be written where ``path`` (or a descriptor) lies; 0 if none.

    The step ``store.space`` can be put out of force: then whoever writes meets the full disk himself.
    """
    if skipped("store.space"):
        return 1 << 60
    disk = os.statvfs(path)
    reserve = min(_RESERVE, disk.f_blocks * disk.f_frsize // _SHARE)
    return max(0, disk.f_bavail * disk.f_frsize - reserve)


def require(path: str, needed: int, what: str) -> None:
    """Raise KernelError (ENOSPC) that says what needs how much, unless there is room for it."""
    if needed > (free := room(path)):
        raise KernelError("write", ENOSPC, path, f"{what} needs {needed} bytes, {free} may be taken")
