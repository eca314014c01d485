"""The mask layer of the ``host`` image: a tmpfs of whiteouts and opaque directories, laid over a tree to hide
parts of it.

Secrets are hidden by this layer and never by mounts, so that cp, export, diff and commit see what the
container sees. Overlay's on-disk format: Documentation/filesystems/overlayfs.rst, "whiteouts and opaque
directories".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from onggi.kernel import mounts
from onggi.runtime.plan import Mask

_OPAQUE = "trusted.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def build_layer(entries: Sequence[Mask], below: str) -> int:
    """A detached tmpfs holding ``entries``; directories take mode and owner of those in ``below`` (the tree
    to hide).
    """
    layer = mounts.filesystem("tmpfs", "tmpfs", (("mode", "755"),))
    below_fd = os.open(below, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    root = os.open(".", _DIRECTORY, dir_fd=layer)
    try:
        for entry in entries:
            _add(root, below_fd, entry)
    finally:
        os.close(root)
        os.close(below_fd)
    return layer


def _add(root: int, below: int, entry: Mask) -> None:
    *parents, name = entry.path.strip("/").split("/")
    directory = os.dup(root)
    path = ""
    for parent in parents:
        path = f"{path}/{parent}".lstrip("/")
        directory = _descend(directory, parent, below, path)
    full = f"{path}/{name}".lstrip("/")
    try:
        if entry.kind == "whiteout":
            _whiteout(directory, name)
        else:
            os.close(_make(directory, name, below, full, opaque=True))
    finally:
        os.close(directory)


def _whiteout(directory: int, name: str) -> None:
    try:
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory)
    except FileExistsError:
        pass  # named twice: it is hidden already


def _descend(directory: int, name: str, below: int, path: str) -> int:
    try:
        return _make(directory, name, below, path, opaque=False)
    finally:
        os.close(directory)


def _make(directory: int, name: str, below: int, path: str, *, opaque: bool) -> int:
    """Make or open one directory of the layer, like the one it covers."""
    try:
        os.mkdir(name, 0o755, dir_fd=directory)
        made = True
    except FileExistsError:
        made = False
    fd = os.open(name, _DIRECTORY, dir_fd=directory)
    if made:
        _imitate(fd, below, path)
    if opaque:
        os.setxattr(fd, _OPAQUE, b"y")
    return fd


def _imitate(fd: int, below: int, path: str) -> None:
    try:
        info = os.stat(path, dir_fd=below, follow_symlinks=False)
    except FileNotFoundError:
        return  # hidden before it exists: the default mode will do
    os.fchown(fd, info.st_uid, info.st_gid)
    os.fchmod(fd, stat.S_IMODE(info.st_mode))
