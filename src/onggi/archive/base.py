"""The layers below a container as one tree, read as an overlay would show it, without a mount.

By descriptors and single names; no link is followed. It answers what a difference needs to know of a name,
for containers on overlays and for those that are copies alike.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from errno import ELOOP, ENOENT, ENOTDIR
from typing import NamedTuple

from onggi.archive.overlay import is_opaque, is_whiteout

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (ENOENT, ENOTDIR, ELOOP)
OPAQUE = "opaque"  # a mask that empties a directory; all others hide a name


class Seen(NamedTuple):
    """What the layers have by a name: the topmost's status, and the directory that is merged there."""

    status: os.stat_result
    inside: Base


class Base:
    """One directory of the layers: descriptors top first, none where the layers have no such directory.

    ``masks`` (path -> kind) hide parts of the lowest layer, which is ``lowest`` or not among the descriptors.
    """

    def __init__(
        self,
        fds: Sequence[int] = (),
        path: bytes = b"",
        masks: Mapping[bytes, str] | None = None,
        lowest: int = -1,
    ) -> None:
        self._fds, self._path, self._masks, self._lowest = list(fds), path, masks or {}, lowest

    def look(self, name: bytes) -> Seen | None:
        """What has the name, None if nothing has. Whoever takes a directory closes it."""
        path = b"%b/%b" % (self._path, name)
        top: os.stat_result | None = None
        inside, lowest = list[int](), -1
        for fd in self._fds:
            status = self._status(fd, name, path)
            if status is None:
                continue
            if is_whiteout(status) or (top and not stat.S_ISDIR(status.st_mode)):
                break
            top = top or status
            child = _open(name, fd) if stat.S_ISDIR(status.st_mode) and not self._emptied(fd, path) else -1
            if child < 0:
                break
            inside.append(child)
            lowest = child if fd == self._lowest else -1
            if is_opaque(child):
                break
        return Seen(top, Base(inside, path, self._masks, lowest)) if top else None

    def link(self, name: bytes) -> bytes:
        """Where the symbolic link of this name leads; ``look`` has found one."""
        for fd in self._fds:
            try:
                return os.readlink(name, dir_fd=fd)
            except FileNotFoundError:
                continue
        return b""

    def names(self) -> list[bytes]:
        """Everything in this directory, in order."""
        found = {os.fsencode(name) for fd in self._fds for name in os.listdir(fd)}
        return sorted(name for name in found if self._shows(name))

    @property
    def fd(self) -> int:
        """The topmost directory, -1 if there is none."""
        return self._fds[0] if self._fds else -1

    @property
    def descriptors(self) -> list[int]:
        """All of them, top first."""
        return [*self._fds]

    def close(self) -> None:
        """Give the descriptors back."""
        while self._fds:
            os.close(self._fds.pop())

    def _shows(self, name: bytes) -> bool:
        seen = self.look(name)
        if seen:
            seen.inside.close()
        return seen is not None

    def _status(self, fd: int, name: bytes, path: bytes) -> os.stat_result | None:
        if fd == self._lowest and self._masks.get(path, OPAQUE) != OPAQUE:
            return None
        try:
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise

    def _emptied(self, fd: int, path: bytes) -> bool:
        return fd == self._lowest and path in self._masks


def _open(name: bytes, directory_fd: int) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=directory_fd)
    except OSError as error:
        if error.errno in _GONE:
            return -1  # the lowest layer of a view is the machine itself, which changes
        raise
