"""What a container has at a path: its status, and where a link leads in the end."""

from __future__ import annotations

import os
import stat
from errno import ELOOP, ENOENT, ENOTDIR
from typing import Any

from onggi.archive import walk
from onggi.errors import KernelError, NotFound
from onggi.kernel import paths

Json = Any
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
_GONE = (ENOENT, ENOTDIR)


def look(root_fd: int, path: str) -> Json:
    """``size``, ``mode`` (as of stat(2)), ``mtime_ns`` and ``link`` of what ``path`` leads to inside the
    root. A symbolic link at its end is not followed, but with ``/`` or ``/.`` behind it; ``link`` is the
    path where it leads in the end, which may not exist, and empty for all else.

    Raises NotFound for what the kernel shows of itself, KernelError.
    """
    fd = paths.open_in(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
    try:
        status = os.fstat(fd)
        if walk.is_kernels(fd):
            raise NotFound(path)
    finally:
        os.close(fd)
    link = follow(root_fd, path) if stat.S_ISLNK(status.st_mode) else ""
    return {"size": status.st_size, "mode": status.st_mode, "mtime_ns": status.st_mtime_ns, "link": link}


def follow(root_fd: int, path: str) -> str:
    """The path inside the root without any link; from the first name that does not exist on, as it is.

    One name at a time, and the way back is remembered, so that whoever moves directories meanwhile can lead
    nowhere out. Raises KernelError(ELOOP).
    """
    trail: list[tuple[int, str]] = []
    names, links = paths.names_of(path), 0
    try:
        while names:
            name = names.pop(0)
            if name == "..":
                if trail:
                    os.close(trail.pop()[0])
                continue
            try:
                fd = os.open(name, _PATH, dir_fd=trail[-1][0] if trail else root_fd)
            except OSError as error:
                if error.errno not in _GONE:
                    raise KernelError("open", error.errno or 0, path) from None
                return "/" + "/".join([*(known for _, known in trail), name, *names])
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                trail.append((fd, name))
                continue
            target = os.readlink("", dir_fd=fd)
            os.close(fd)
            links += 1
            if links > _MAX_LINKS:
                raise KernelError("open", ELOOP, path)
            if target.startswith("/"):
                _close(trail)
            names = paths.names_of(target) + names
        return "/" + "/".join(known for _, known in trail)
    finally:
        _close(trail)


def _close(trail: list[tuple[int, str]]) -> None:
    while trail:
        os.close(trail.pop()[0])
