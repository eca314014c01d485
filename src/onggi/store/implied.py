"""Directories that a layer only implies: it has ``a/b`` and says nothing of ``a``. In the view that
containers see the topmost ``a`` decides its mode, so it must get what the layers below say.

docker unpacks a layer over a copy of those below and needs no such step; the result is the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from errno import ELOOP, ENOENT, ENOTDIR
from typing import NamedTuple

from onggi.archive.overlay import ATTRIBUTES, is_opaque
from onggi.errors import KernelError
from onggi.store.durable import sync_file, sync_tree

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SYNC_EACH = 16  # more changed directories than this are synced with the whole file system


class Facts(NamedTuple):
    """What a directory is."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: dict[str, bytes]


def adopt(root_fd: int, below: Sequence[str], implied: Sequence[str], *, durable: bool = True) -> None:
    """Give the directories ``implied`` (paths without leading ``/``) below ``root_fd`` what they have in the
    layers ``below``, top first; ``durable`` when it returns. Blocking. Raises KernelError.
    """
    changed = 0
    for path in implied:
        try:
            changed += _adopt(root_fd, below, path, sync=durable and len(implied) <= _SYNC_EACH)
        except OSError as error:
            raise KernelError("unpack", error.errno or 0, path or "/") from None
    if durable and changed and len(implied) > _SYNC_EACH:
        sync_tree(root_fd)


def _adopt(root_fd: int, below: Sequence[str], path: str, *, sync: bool) -> bool:
    fd, hides = _open(root_fd, path)
    if fd < 0:
        return False  # a later member took its place
    try:
        facts = None if hides else find(below, path)
        if facts is None:
            return False
        os.fchown(fd, facts.uid, facts.gid)
        os.fchmod(fd, facts.mode)
        for name, value in facts.xattrs.items():
            os.setxattr(fd, name, value)
        os.utime(fd, ns=(facts.mtime_ns, facts.mtime_ns))
        if sync:
            sync_file(fd)
        return True
    finally:
        os.close(fd)


def find(layers: Sequence[str], path: str) -> Facts | None:
    """A directory of the merged view of ``layers`` (top first); None if there is none."""
    for layer in layers:
        root_fd = os.open(layer, _DIRECTORY)
        try:
            fd, hides = _open(root_fd, path)
        finally:
            os.close(root_fd)
        if fd >= 0:
            try:
                return _facts(fd)
            finally:
                os.close(fd)
        if hides:
            return None
    return None


def _open(root_fd: int, path: str) -> tuple[int, bool]:
    """(descriptor of the directory, whether this layer hides what lower ones have of it); -1 if it is not
    here.

    One name at a time and no link followed: a link on the way is no directory of this path.
    """
    fd, hides = os.dup(root_fd), False
    for name in filter(None, path.split("/")):
        try:
            hides = hides or is_opaque(fd)
            below = os.open(name, _DIRECTORY, dir_fd=fd)
        except OSError as error:
            if error.errno not in (ENOENT, ENOTDIR, ELOOP):
                raise
            return -1, hides or error.errno != ENOENT
        finally:
            os.close(fd)
        fd = below
    return fd, hides


def _facts(fd: int) -> Facts:
    status = os.fstat(fd)
    names = [name for name in os.listxattr(fd) if not name.startswith(ATTRIBUTES)]
    xattrs = {name: os.getxattr(fd, name) for name in names}
    return Facts(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, xattrs)
