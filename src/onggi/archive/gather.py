"""Writes the layer of a COPY: files of one tree as they will lie above another, without a mount of either.

Sources are resolved inside their root by the kernel (rule R1), names of the tree below by descriptors; times
and owners are what the caller says, so that equal files make equal layers.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from errno import ENOENT, ENOTDIR
from typing import NamedTuple

from onggi.archive import globs, names, tar
from onggi.archive.below import Below
from onggi.archive.ignore import Ignored
from onggi.archive.modes import Mode
from onggi.archive.names import show
from onggi.archive.pack import Packer, xattrs_of
from onggi.archive.walk import Found, Opener, walk
from onggi.errors import InvalidArgument, KernelError, NotFound
from onggi.kernel import paths

_FOLLOW = os.O_PATH | os.O_CLOEXEC


class Wish(NamedTuple):
    """What is copied where.

    ``sources`` are patterns, ``files`` names with their content; a ``destination`` that ends in ``/`` is a
    directory. ``owner`` None keeps the sources' owners, ``mode`` None their modes. ``parents`` keeps the
    directories of a source. ``make``: the destination is a directory that is made, nothing is copied.
    """

    sources: list[bytes]
    destination: bytes
    files: list[tuple[bytes, bytes]]
    owner: tuple[int, int] | None
    mode: Mode | None
    time_ns: int
    exclude: Ignored
    parents: bool = False
    make: bool = False


class Source(NamedTuple):
    """One source: its path, and how much of that is kept where the directories of sources are."""

    path: bytes
    is_directory: bool
    kept: bytes


def gather(root_fd: int, out_fd: int, below: Below, wish: Wish, opener: Opener) -> dict[str, int]:
    """Write the layer. Raises NotFound for a source that is not there, InvalidArgument, KernelError."""
    work = _Gathering(root_fd, out_fd, below, wish, opener)
    try:
        return work.run()
    except OSError as error:
        raise KernelError("copy", error.errno or 0, show(wish.destination)) from None


class _Gathering:
    def __init__(self, root_fd: int, out_fd: int, below: Below, wish: Wish, opener: Opener) -> None:
        self._root_fd, self._below, self._wish, self._opener = root_fd, below, wish, opener
        self._packer = Packer(out_fd, self._dressed)
        self._made: set[bytes] = set()
        self._as_is = False

    def run(self) -> dict[str, int]:
        wish = self._wish
        sources = [it for pattern in wish.sources for it in find(self._root_fd, pattern)]
        target = self._below.real(wish.destination)
        if wish.make:
            self._directories(target)
            return self._packer.finish()
        inside = self._is_directory(target, len(sources) + len(wish.files))
        for source in sources:
            self._copy(source, target, inside)
        for name, content in wish.files:
            self._document(b"/".join(filter(None, (target, name))) if inside else target, content)
        return self._packer.finish()

    def _is_directory(self, target: bytes, count: int) -> bool:
        """Whether files go into the destination rather than become it."""
        if count > 1 or not target or self._wish.destination.endswith((b"/", b"/.")) or self._wish.parents:
            return True
        status = self._below.look(target)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def _copy(self, source: Source, target: bytes, inside: bool) -> None:
        if self._wish.parents:
            self._below_source(source, b"/".join(filter(None, (target, source.kept))))
        elif source.is_directory:
            if self._wish.destination.endswith(b"/"):
                self._directories(target)
            self._below_source(source, target)
        else:
            self._below_source(source, self._named(source, target) if inside else target)

    @staticmethod
    def _named(source: Source, directory: bytes) -> bytes:
        return b"/".join(filter(None, (directory, source.path.rpartition(b"/")[2])))

    def _below_source(self, source: Source, target: bytes) -> None:
        """A file, or a directory with all that is in it, at a path of the image."""
        target = self._below.real(target)
        self._directories(target if self._has(target) else target.rpartition(b"/")[0])
        for found in self._tree(source.path):
            if os.fsdecode(found.path or source.path) in self._wish.exclude:
                continue
            self._add(found, b"/".join(filter(None, (target, found.path))))

    def _has(self, target: bytes) -> bool:
        status = self._below.look(target) if target else None
        return not target or (status is not None and stat.S_ISDIR(status.st_mode))

    def _tree(self, path: bytes) -> Iterator[Found]:
        """What a path leads to inside the root, and all that is below it."""
        handle = paths.open_in(self._root_fd, os.fsdecode(path) or "/", _FOLLOW)
        try:
            top = self._opener.reopen(handle)
            try:
                yield from walk(top, self._opener, lambda found: not self._passed_over(found))
            finally:
                if top.fd >= 0:
                    os.close(top.fd)
        finally:
            os.close(handle)

    def _passed_over(self, found: Found) -> bool:
        """A directory that is left out with all that is in it, as no later pattern can take it back."""
        path = os.fsdecode(found.path)
        return path in self._wish.exclude and not self._wish.exclude.may_keep_in(path)

    def _add(self, found: Found, target: bytes) -> None:
        if target in self._made or (not target and stat.S_ISDIR(found.status.st_mode)):
            return
        if names.is_marked(target):
            raise InvalidArgument(f"/{show(target)} has a name that means a deletion in an image layer")
        self._directories(target.rpartition(b"/")[0])
        self._check(found, target)
        self._packer.add(found, target)

    def _check(self, found: Found, target: bytes) -> None:
        before = self._below.look(target)
        if stat.S_ISDIR(found.status.st_mode):
            self._made.add(target)
            if before and not stat.S_ISDIR(before.st_mode):
                raise InvalidArgument(f"cannot copy to non-directory: /{show(target)}")
        elif before and stat.S_ISDIR(before.st_mode):
            raise InvalidArgument(f"cannot replace to directory /{show(target)} with file")

    def _document(self, target: bytes, content: bytes) -> None:
        target = self._below.real(target)
        self._directories(target.rpartition(b"/")[0])
        fd = os.memfd_create("document")
        try:
            os.fchmod(fd, 0o644)
            os.write(fd, content)
            os.lseek(fd, 0, os.SEEK_SET)
            self._packer.add(Found(target, -1, b"", os.fstat(fd), fd), target)
        finally:
            os.close(fd)

    # -- directories on the way ----------------------------------------------------------------------------

    def _directories(self, path: bytes) -> None:
        """Members for a directory and those above it: as they are below, or new."""
        if not path or path in self._made:
            return
        self._directories(path.rpartition(b"/")[0])
        self._made.add(path)
        status = self._below.look(path)
        if status is None:
            owner = self._wish.owner or (0, 0)
            self._member(path, 0o755, owner, {})
        elif not stat.S_ISDIR(status.st_mode):
            raise InvalidArgument(f"cannot mkdir: /{show(path)} is not a directory")
        else:
            fd = self._below.directory(path).fd
            xattrs = xattrs_of(fd) if fd >= 0 else {}
            self._member(path, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid), xattrs)

    def _member(self, path: bytes, mode: int, owner: tuple[int, int], xattrs: dict[bytes, bytes]) -> None:
        self._as_is = True
        self._packer.put(tar.Entry(path + b"/", tar.DIRECTORY, 0, mode, *owner, 0, b"", (0, 0), xattrs))
        self._as_is = False

    def _dressed(self, entry: tar.Entry) -> tar.Entry:
        if self._as_is:
            return entry._replace(mtime_ns=self._wish.time_ns)
        uid, gid = self._wish.owner or (entry.uid, entry.gid)
        entry = entry._replace(mtime_ns=self._wish.time_ns, uid=uid, gid=gid)
        if self._wish.mode and entry.kind != tar.SYMLINK:
            entry = entry._replace(mode=self._wish.mode(entry.mode, entry.kind == tar.DIRECTORY))
        return entry


# -- sources -----------------------------------------------------------------------------------------------


def find(root_fd: int, pattern: bytes) -> list[Source]:
    """What a pattern matches inside the root, in order. Raises NotFound if that is nothing."""
    before, pivot, behind = pattern.partition(b"/./")
    left_out = len(_parts(before)) if pivot else 0
    kinds = {path: _kind(root_fd, path) for path in _matches(root_fd, b"", _parts(before + b"/" + behind))}
    found = [(path, kind) for path, kind in kinds.items() if kind]
    if not found:
        raise NotFound(os.fsdecode(pattern))
    return [
        Source(path, kind == stat.S_IFDIR, b"/".join(path.split(b"/")[left_out:])) for path, kind in found
    ]


def _parts(path: bytes) -> list[bytes]:
    """The names of a path; ``..`` ends at the root, as everywhere in a context."""
    result: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            result = result[:-1]
        elif part not in (b"", b"."):
            result.append(part)
    return result


def _matches(root_fd: int, above: bytes, parts: list[bytes]) -> Iterator[bytes]:
    if not parts:
        yield above
        return
    first, *rest = parts
    if not globs.has_meta(first):
        yield from _matches(root_fd, b"/".join(filter(None, (above, first))), rest)
        return
    for name in _names(root_fd, above, globs.component(first)):
        yield from _matches(root_fd, b"/".join(filter(None, (above, name))), rest)


def _names(root_fd: int, path: bytes, pattern: re.Pattern[bytes]) -> list[bytes]:
    try:
        fd = paths.open_in(root_fd, os.fsdecode(path) or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except KernelError as error:
        if error.errno in (ENOENT, ENOTDIR):
            return []
        raise
    try:
        return sorted(name for name in map(os.fsencode, os.listdir(fd)) if pattern.fullmatch(name))
    finally:
        os.close(fd)


def _kind(root_fd: int, path: bytes) -> int:
    """The type of what a path leads to, 0 if that is nothing."""
    try:
        fd = paths.open_in(root_fd, os.fsdecode(path) or "/", _FOLLOW)
    except KernelError as error:
        if error.errno in (ENOENT, ENOTDIR):
            return 0
        raise
    try:
        return stat.S_IFMT(os.fstat(fd).st_mode)
    finally:
        os.close(fd)
