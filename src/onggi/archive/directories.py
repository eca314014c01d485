"""Directories inside a root, for makers of files: resolved by the kernel (rule R1), kept open, made where
absent.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from errno import ENOENT, ENOTDIR

from onggi.archive.names import clean
from onggi.archive.overlay import is_whiteout
from onggi.errors import KernelError
from onggi.kernel import paths

_MAX_OPEN = 64
_MAX_LINKS = 40
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NOT_THERE = (ENOENT, ENOTDIR)
Check = Callable[[int, bytes], None]


class Directories:
    """Descriptors of directories by the names that an archive gives them.

    ``implied`` are the paths of those that were made here, in order; ``opaque`` those that took the place of
    a whiteout, below which nothing of lower layers may show.
    """

    def __init__(self, root_fd: int, depth: int, place: bytes = b"", check: Check | None = None) -> None:
        """Names begin at ``place`` in the root, paths at the root; ``check`` may refuse a descriptor."""
        self._root_fd, self._depth, self._place, self._check = root_fd, depth, place, check
        self._open: dict[bytes, tuple[int, bytes]] = {}  # the oldest first
        self.implied: dict[bytes, None] = {}
        self.opaque: set[bytes] = set()

    def knows(self, name: bytes) -> bool:
        """Whether ``get`` would answer without a look."""
        return name in self._open

    def get(self, name: bytes, *, revive: bool = True) -> tuple[int, bytes]:
        """(O_PATH descriptor, clean path) of a directory; the descriptor stays ours, until the next call.

        What is missing is made, also in place of a whiteout unless ``revive`` is false. Raises OSError,
        KernelError, InvalidArgument.
        """
        found = self._open.get(name)
        if found is None:
            path = b"/".join(part for part in (self._place, clean(name, self._depth)) if part)
            fd = self._beside(name)
            found = self._keep(name, self._resolve(path, revive) if fd < 0 else fd, path)
        return found

    def find(self, path: bytes) -> int:
        """The descriptor of a directory that exists, by its path; like ``get``, but makes nothing."""
        key = b"\0/" + path  # no name of an archive, which may begin elsewhere, is like it
        found = self._open.get(key)
        if found is None:
            fd = self._beside(key)
            if fd < 0:
                fd = paths.open_in(self._root_fd, os.fsdecode(path), _DIRECTORY)
            found = self._keep(key, fd, path)
        return found[0]

    def _keep(self, name: bytes, fd: int, path: bytes) -> tuple[int, bytes]:
        if self._check:
            self._check(fd, path)
        self._open[name] = (fd, path)
        if len(self._open) > _MAX_OPEN:
            os.close(self._open.pop(next(iter(self._open)))[0])
        return fd, path

    def forget(self, keep: int = -1) -> None:
        """Close all but one: what a name leads to may have changed."""
        for name, (fd, _) in list(self._open.items()):
            if fd != keep:
                del self._open[name]
                os.close(fd)

    def _beside(self, name: bytes) -> int:
        """A directory in one that is open, the usual case; -1 for all others."""
        above, _, last = name.rpartition(b"/")
        found = self._open.get(above)
        if found is None or last in (b"", b".", b".."):
            return -1
        try:
            return os.open(last, _DIRECTORY | os.O_NOFOLLOW, dir_fd=found[0])
        except OSError:
            return -1  # absent, or a link

    def _resolve(self, path: bytes, revive: bool, links: int = 0) -> int:
        try:
            return paths.open_in(self._root_fd, os.fsdecode(path), _DIRECTORY)
        except KernelError as error:
            if error.errno not in _NOT_THERE or not path or links > _MAX_LINKS:
                raise
        above, _, name = path.rpartition(b"/")
        above_fd = self._resolve(above, revive, links)
        try:
            link = self._make(above_fd, name, path, revive)
            if not link:
                return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=above_fd)
        finally:
            os.close(above_fd)
        os.close(self._resolve(_follow(above, link), revive, links + 1))
        return paths.open_in(self._root_fd, os.fsdecode(path), _DIRECTORY)

    def _make(self, above_fd: int, name: bytes, path: bytes, revive: bool) -> bytes:
        """Make a directory; the target of a link that has the name and leads nowhere yet."""
        try:
            os.mkdir(name, 0o755, dir_fd=above_fd)
        except FileExistsError:
            status = os.stat(name, dir_fd=above_fd, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                return os.readlink(name, dir_fd=above_fd)
            if not is_whiteout(status) or not revive:
                return b""
            self.revive(above_fd, name, path, 0o755)
        self.implied[path] = None
        return b""

    def revive(self, above_fd: int, name: bytes, path: bytes, mode: int) -> None:
        """Put a directory in the place of a whiteout: it is opaque, as what it covers was said to be gone."""
        os.unlink(name, dir_fd=above_fd)
        os.mkdir(name, mode, dir_fd=above_fd)
        self.opaque.add(path)


def _follow(directory: bytes, link: bytes) -> bytes:
    """Where a link in ``directory`` points, as far as text can tell; the root's ``..`` is the root."""
    parts = [] if link.startswith(b"/") else directory.split(b"/")
    for part in link.split(b"/"):
        if part == b"..":
            parts = parts[:-1]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts).lstrip(b"/")
