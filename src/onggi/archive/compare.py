"""Compares an unpacked layer with the archive that it came from: what is missing, changed, or was not in it.

A member is known by the directory that its name leads to in the tree as it is, and its last name: links on
the way need no second look. Times count in seconds.
"""

from __future__ import annotations

import os
import stat

# hashlib would load OpenSSL into the launcher and every monitor: 4 MB.
from _blake2 import blake2b
from collections.abc import Callable, Iterator
from typing import NamedTuple

from onggi.archive import names, nodes, overlay, tar
from onggi.archive.directories import Directories
from onggi.archive.names import clean, show
from onggi.errors import KernelError

_MOST_TOLD = 10
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 20
_SECOND = 1_000_000_000
_KINDS: dict[bytes, Callable[[int], bool]] = {
    tar.FILE: stat.S_ISREG,
    tar.HARDLINK: lambda mode: not stat.S_ISDIR(mode),
    tar.SYMLINK: stat.S_ISLNK,
    tar.CHARACTER: stat.S_ISCHR,
    tar.BLOCK_DEVICE: stat.S_ISBLK,
    tar.DIRECTORY: stat.S_ISDIR,
    tar.FIFO: stat.S_ISFIFO,
}
_Place = tuple[int, bytes]  # inode of the directory, name
_ROOT: _Place = (0, b"")


class _Member(NamedTuple):
    """What a name must be: an ``entry`` whose data has the ``digest`` (empty for none), or a whiteout."""

    path: bytes
    entry: tar.Entry | None
    digest: bytes = b""


class Result(NamedTuple):
    """So many ``differences``, the first of which are ``told``."""

    entries: int
    differences: int
    told: list[str]


class Comparison:
    """Of one layer below a descriptor."""

    def __init__(self, root_fd: int, depth: int) -> None:
        self._root_fd, self._depth = root_fd, depth
        self._directories = Directories(root_fd, depth)
        self._inodes: dict[bytes, int] = {}
        self._members: dict[_Place, _Member] = {}
        self._opaque: set[bytes] = set()
        self._entries = self._differences = 0
        self._told: list[str] = []

    def run(self, stream_fd: int) -> Result:
        """Read the plain archive to its end, then the tree. Raises InvalidArgument or Unsupported."""
        reader = tar.Reader(stream_fd)
        while entry := reader.next():
            self._entries += 1
            self._note(entry, reader)
        reader.drain()
        self._check_root()
        self._walk(self._root_fd, b"")
        for member in self._members.values():
            if member.entry is not None or not self._is_needless(member.path):
                self._tell(member.path, "is missing")
        self._check_opaque()
        return Result(self._entries, self._differences, self._told)

    # -- the archive ---------------------------------------------------------------------------------------

    def _note(self, entry: tar.Entry, reader: tar.Reader) -> None:
        path = clean(entry.name, self._depth)
        parent, _, name = path.rpartition(b"/")
        if names.is_marked(path):
            hidden = names.hidden_name(path)
            if not hidden:
                self._opaque.add(parent)
            elif (place := self._place(parent, hidden)) is not None:
                self._members.setdefault(place, _Member(b"%b/%b" % (parent, hidden), None))
            return
        digest = _digest(iter(reader.read, b"")) if entry.kind == tar.FILE and not entry.stretches else b""
        place = self._place(parent, name) if name else _ROOT
        if place is None:
            self._tell(path, "is missing, with its directory")
        else:
            self._members[place] = _Member(path, entry, digest)

    def _place(self, parent: bytes, name: bytes) -> _Place | None:
        if parent not in self._inodes:
            try:
                self._inodes[parent] = os.fstat(self._directories.find(parent)).st_ino
            except (KernelError, OSError):
                return None
        return self._inodes[parent], name

    # -- the tree ------------------------------------------------------------------------------------------

    def _check_root(self) -> None:
        if member := self._members.pop(_ROOT, None):
            self._check(self._root_fd, b".", os.fstat(self._root_fd), member)

    def _walk(self, fd: int, path: bytes) -> bool:
        """Check what is in a directory; whether any of it, at any depth, is of the archive."""
        inode, known = os.fstat(fd).st_ino, False
        with os.scandir(fd) as entries:
            found = [os.fsencode(entry.name) for entry in entries]
        for name in found:
            member = self._members.pop((inode, name), None)
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            # What is in a directory comes first: its own time often tells of that only.
            inside = stat.S_ISDIR(status.st_mode) and self._enter(fd, name, path)
            if member is not None:
                self._check(fd, name, status, member)
            if member is None and not inside:
                self._tell(b"%b/%b" % (path, name), "is not in its archive")
            known = known or inside or member is not None
        return known

    def _enter(self, parent_fd: int, name: bytes, path: bytes) -> bool:
        fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
        try:
            return self._walk(fd, b"%b/%b" % (path, name))
        finally:
            os.close(fd)

    def _check(self, fd: int, name: bytes, status: os.stat_result, member: _Member) -> None:
        difference = next(self._compare(fd, name, status, member), "")
        if difference:
            self._tell(member.path, difference)

    def _compare(self, fd: int, name: bytes, status: os.stat_result, member: _Member) -> Iterator[str]:
        entry = member.entry
        if entry is None:
            if not overlay.is_whiteout(status):
                yield "is no whiteout"
            return
        if not _KINDS[entry.kind](status.st_mode):
            yield "is of another kind"
        elif entry.kind == tar.HARDLINK:
            if not self._is_link(entry.link, status):
                yield f"is no link to {show(entry.link)}"
        else:
            yield from _metadata(status, entry)
            yield from _content(fd, name, status, member)

    def _is_link(self, target: bytes, status: os.stat_result) -> bool:
        parent, _, name = clean(target, self._depth).rpartition(b"/")
        try:
            other = os.stat(name, dir_fd=self._directories.find(parent), follow_symlinks=False)
        except (KernelError, OSError):
            return False
        return (other.st_dev, other.st_ino) == (status.st_dev, status.st_ino)

    def _is_needless(self, path: bytes) -> bool:
        """Whether a whiteout lies below a directory that hides everything: unpacking leaves it out."""
        while path := path.rpartition(b"/")[0]:
            if path in self._opaque:
                return True
        return False

    def _check_opaque(self) -> None:
        for path in sorted(self._opaque):
            try:
                fd = os.open(b".", _DIRECTORY, dir_fd=self._directories.find(path))
            except (KernelError, OSError):
                continue  # a later member took its place, or it is missing, which was told
            try:
                if not overlay.is_opaque(fd):
                    self._tell(path, "does not hide what is below it")
            finally:
                os.close(fd)

    def _tell(self, path: bytes, difference: str) -> None:
        self._differences += 1
        if len(self._told) < _MOST_TOLD:
            self._told.append(f"/{show(path.lstrip(b'/'))} {difference}")


def _metadata(status: os.stat_result, entry: tar.Entry) -> Iterator[str]:
    if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        yield f"belongs to {status.st_uid}:{status.st_gid} instead of {entry.uid}:{entry.gid}"
    has_list = any(key.startswith(b"system.posix_acl_") for key in entry.xattrs)  # of which the mode is part
    mode = stat.S_IMODE(status.st_mode)
    if entry.kind != tar.SYMLINK and not has_list and mode != entry.mode:
        yield f"has the mode {mode:o} instead of {entry.mode:o}"
    if status.st_mtime_ns // _SECOND != nodes.bounded(entry.mtime_ns) // _SECOND:
        yield "has another time"
    if entry.kind in (tar.CHARACTER, tar.BLOCK_DEVICE) and status.st_rdev != os.makedev(*entry.device):
        yield "is another device"


def _content(parent_fd: int, name: bytes, status: os.stat_result, member: _Member) -> Iterator[str]:
    entry = member.entry
    assert entry is not None
    if entry.kind == tar.SYMLINK and os.readlink(name, dir_fd=parent_fd) != entry.link:
        yield "leads elsewhere"
    if entry.kind == tar.FILE and status.st_size != entry.size:
        yield f"has {status.st_size} bytes instead of {entry.size}"
    if entry.kind not in (tar.FILE, tar.DIRECTORY):
        return
    fd = os.open(name, _FILE, dir_fd=parent_fd)
    try:
        if member.digest and member.digest != _digest(iter(lambda: os.read(fd, _PIECE), b"")):
            yield "has other content"
        yield from (f"has another attribute {show(key)}" for key in _other_xattrs(fd, entry.xattrs))
    except OSError as error:
        yield f"cannot be read: {os.strerror(error.errno or 0).lower()}"
    finally:
        os.close(fd)


def _other_xattrs(fd: int, xattrs: dict[bytes, bytes]) -> Iterator[bytes]:
    there = {os.fsencode(key) for key in os.listxattr(fd)}
    for key, value in xattrs.items():
        is_set = key == b"security.capability" or key.startswith(b"user.")
        if is_set and (key not in there or os.getxattr(fd, key) != value):
            yield key


def _digest(pieces: Iterator[bytes | memoryview]) -> bytes:
    found = blake2b()
    for piece in pieces:
        found.update(piece)
    return found.digest()
