"""Mount points that a container's start left behind: empty, and not there in the layers.

They are left out of what is packed, and never deleted: a name that was a mount point may be anything by now.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack

from onggi.archive.base import Base
from onggi.archive.below import Below
from onggi.archive.names import clean

_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = 256


def find(top_fd: int, base: Base, targets: Sequence[bytes]) -> frozenset[bytes]:
    """Paths below ``top_fd`` of empty mount points, and of directories made for nothing else."""
    found: set[bytes] = set()
    paths = sorted((clean(target, _MAX_DEPTH) for target in targets), reverse=True)
    for path in paths:  # the deepest first: one may have been made in another
        below = Below(Base([os.dup(fd) for fd in base.descriptors]))
        while path and below.look(path) is None and _is_stub(top_fd, path, found):
            found.add(path)
            path = path.rpartition(b"/")[0]
        below.close()
    return frozenset(found)


def _is_stub(top_fd: int, path: bytes, stubs: set[bytes]) -> bool:
    """An empty file, or a directory of nothing but stubs; no link on the way is followed."""
    with ExitStack() as stack:
        fd = top_fd
        *above, name = path.split(b"/")
        try:
            for part in above:
                fd = os.open(part, _PATH | os.O_DIRECTORY, dir_fd=fd)
                stack.callback(os.close, fd)
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                return status.st_size == 0
            if not stat.S_ISDIR(status.st_mode):
                return False
            own = os.open(name, _LIST, dir_fd=fd)
        except OSError:
            return False
        stack.callback(os.close, own)
        return all(path + b"/" + os.fsencode(entry) in stubs for entry in os.listdir(own))
