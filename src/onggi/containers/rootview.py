"""Small files of a root file system that is not mounted: read through its layers, as the overlay would show
them.

Every step is one name opened without following links from a descriptor (rule R1); symbolic links are
resolved here, within the root. Content is read by rule R7: regular files only, size-capped, never blocking.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Self

from onggi.archive.overlay import ATTRIBUTES, COPY, OVERLAY, is_whiteout
from onggi.errors import InvalidArgument
from onggi.kernel.paths import names_of, open_root
from onggi.store.rootfs import Rootfs

_LIMIT = 1 << 20
_MAX_LINKS = 40
_OPAQUE = (OVERLAY.opaque, COPY.opaque)


def layers(rootfs: Rootfs) -> list[str]:
    """Directories that make ``/``, top first."""
    if rootfs.kind == "directory":
        return [rootfs.path]
    root = rootfs.overlays[0]
    return ([root.upper] if root.upper else []) + root.lowers


def inherits(upper: str, directory: str, names: Iterable[str]) -> bool:
    """Whether files of a directory below ``/`` are those of the layers below ``upper``: neither written,
    replaced nor hidden.
    """
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        fd = os.open(f"{upper}/{directory}", flags)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # a link, or a whiteout
    try:
        return not _is_opaque(fd) and not any(_has(fd, name) for name in names)
    finally:
        os.close(fd)


def _has(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


class RootView:
    """The union of some directories; use as a context manager, it holds descriptors."""

    def __init__(self, directories: list[str]) -> None:
        self._stack = ExitStack()
        self._roots = [self._own(open_root(path)) for path in directories]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def read(self, path: str, limit: int = _LIMIT) -> bytes | None:
        """The bytes of a file, None if it is absent.

        InvalidArgument if it is no regular file or too large.
        """
        found = self._resolve(path)
        if not found:
            return None
        status = os.fstat(found[0])
        if not stat.S_ISREG(status.st_mode):
            raise InvalidArgument(f"{path} in the image is not a regular file")
        if status.st_size > limit:
            raise InvalidArgument(f"{path} in the image is larger than {limit} bytes")
        fd = os.open(f"/proc/self/fd/{found[0]}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(fd, limit)
        finally:
            os.close(fd)

    def kind(self, path: str) -> int:
        """The file type bits (``stat.S_IFDIR`` …) of what ``path`` leads to, 0 if it is absent."""
        found = self._resolve(path)
        return stat.S_IFMT(os.fstat(found[0]).st_mode) if found else 0

    def obstacle(self, path: str) -> str:
        """The part of ``path`` that is there and no directory; empty where a directory can be made."""
        while path.strip("/"):
            if kind := self.kind(path):
                return "" if kind == stat.S_IFDIR else path
            path = path.rstrip("/").rpartition("/")[0]
        return ""

    def status(self, path: str) -> os.stat_result | None:
        """What ``path`` leads to; None if it is absent."""
        found = self._resolve(path)
        return os.fstat(found[0]) if found else None

    def is_empty(self, path: str) -> bool:
        """Whether a directory has no entries, and no attributes but overlay's own."""
        shown: set[str] = set()
        hidden: set[str] = set()
        for fd in self._resolve(path):
            place = f"/proc/self/fd/{fd}"
            if any(not name.startswith(ATTRIBUTES) for name in os.listxattr(place)):
                return False
            with os.scandir(place) as entries:
                for entry in entries:
                    whiteout = is_whiteout(entry.stat(follow_symlinks=False))
                    (hidden if whiteout else shown).add(entry.name)
            if shown - hidden:
                return False
        return True

    def _own(self, fd: int) -> int:
        self._stack.callback(os.close, fd)
        return fd

    def _resolve(self, path: str) -> list[int]:
        """O_PATH descriptors of ``path``, top first: many for a merged directory, one for a file, none if
        absent.
        """
        trail = [self._roots]
        names = names_of(path)
        links = 0
        while names:
            name = names.pop(0)
            if name == "..":
                trail = trail[:-1] or [self._roots]
                continue
            found = self._step(trail[-1], name)
            if not found:
                return []
            if stat.S_ISLNK(os.fstat(found[0]).st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise InvalidArgument(f"{path} in the image: too many levels of symbolic links")
                target = os.readlink("", dir_fd=found[0])
                trail = [self._roots] if target.startswith("/") else trail
                names = names_of(target) + names
                continue
            trail.append(found)
        return trail[-1]

    def _step(self, directories: list[int], name: str) -> list[int]:
        found: list[int] = []
        for directory in directories:
            try:
                fd = self._own(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory))
            except (FileNotFoundError, NotADirectoryError):
                continue
            status = os.fstat(fd)
            if is_whiteout(status) or (found and not stat.S_ISDIR(status.st_mode)):
                return found
            found.append(fd)
            if not stat.S_ISDIR(status.st_mode) or _is_opaque(fd):
                return found
        return found


def _is_opaque(fd: int) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(f"/proc/self/fd/{fd}", name) == b"y":
                return True
        except OSError:
            continue  # ENODATA, or a file system without such attributes: not opaque
    return False
