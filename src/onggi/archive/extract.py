"""Unpacks a tar stream below a directory descriptor; no path leaves it.

Every name is resolved by the kernel inside the root (openat2, rule R1) and used by descriptor. Caps are
checked before anything is made. The caller confines the process first, see ``confine.py``; this module
alone must hold as well.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from onggi.archive import tar, trees
from onggi.errors import InvalidArgument, KernelError
from onggi.kernel import paths

_MAX_CACHED = 64  # descriptors of directories kept open
_MAX_PATH, _MAX_NAME = 4095, 255
_PATH_DIR = os.O_PATH | os.O_DIRECTORY
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_TIME_NS = (1 << 34) * 1_000_000_000  # what ext4 can hold
_DEVICES = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}


class Limits(NamedTuple):
    """Caps of one archive: number of entries, bytes of file data, components of a path."""

    entries: int = 2_000_000
    bytes: int = 1 << 40
    depth: int = 256


class Result(NamedTuple):
    """What was unpacked."""

    entries: int
    bytes: int


def extract(stream_fd: int, root_fd: int, limits: Limits = Limits()) -> Result:  # noqa: B008 - immutable
    """Unpack the stream below ``root_fd`` and read it to its end.

    Raises InvalidArgument for a malformed or hostile archive or one beyond the limits, Unsupported for what
    we do not unpack, KernelError for the file system's refusals. What was unpacked so far stays for the
    caller to remove.
    """
    old_umask = os.umask(0)
    extractor = _Extractor(root_fd, limits)
    try:
        reader = tar.Reader(stream_fd)
        while entry := reader.next():
            extractor.add(entry, reader)
        extractor.finish()
        reader.drain()
        return Result(extractor.entries, extractor.bytes)
    finally:
        extractor.close()
        os.umask(old_umask)


class _Extractor:
    def __init__(self, root_fd: int, limits: Limits) -> None:
        self._root_fd, self._limits = root_fd, limits
        self._directories: dict[bytes, int] = {}
        self._times: dict[bytes, int] = {}  # of directories: set last, since making entries changes them
        self.entries = self.bytes = 0

    def add(self, entry: tar.Entry, reader: tar.Reader) -> None:
        """Make one member."""
        self._count(entry)
        path = clean(entry.name, self._limits.depth)
        try:
            if path:
                self._make(path, entry, reader)
            elif entry.kind == tar.DIRECTORY:
                self._directory_metadata(b"", entry)
            else:
                raise InvalidArgument(
                    f"invalid tar: {tar.show(entry.name)} names the root and is no directory"
                )
        except OSError as error:
            raise KernelError("extract", error.errno or 0, tar.show(entry.name)) from None

    def finish(self) -> None:
        """Set the times of directories, deepest first."""
        for path, mtime_ns in sorted(self._times.items(), reverse=True):
            try:
                fd = paths.open_in(
                    self._root_fd, os.fsdecode(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                )
            except KernelError:
                continue  # a later member took its place
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            os.close(fd)

    def close(self) -> None:
        """Close cached directories."""
        self._forget()

    def _count(self, entry: tar.Entry) -> None:
        self.entries += 1
        self.bytes += entry.size
        if self.entries > self._limits.entries:
            raise InvalidArgument(f"archive has more than {self._limits.entries} entries")
        if self.bytes > self._limits.bytes:
            raise InvalidArgument(f"archive unpacks to more than {self._limits.bytes} bytes")

    def _make(self, path: bytes, entry: tar.Entry, reader: tar.Reader) -> None:
        parent, _, name = path.rpartition(b"/")
        if name.startswith(b".wh."):
            raise InvalidArgument(
                f"invalid root file system: {tar.show(entry.name)} is a whiteout of an image layer"
            )
        parent_fd = self._parent(parent)
        if entry.kind == tar.DIRECTORY:
            self._make_directory(parent_fd, name, path, entry)
        elif entry.kind == tar.FILE:
            self._make_file(parent_fd, name, entry, reader)
        else:
            self._make_special(parent_fd, name, entry)

    def _make_directory(self, parent_fd: int, name: bytes, path: bytes, entry: tar.Entry) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent_fd)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
                self._clear(parent_fd, name)
                os.mkdir(name, 0o700, dir_fd=parent_fd)
        self._directory_metadata(path, entry)

    def _directory_metadata(self, path: bytes, entry: tar.Entry) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if path else 0)
        fd = paths.open_in(self._root_fd, os.fsdecode(path), flags)
        try:
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            _set_xattrs(fd, entry)
        finally:
            os.close(fd)
        self._times[path] = _bounded(entry.mtime_ns)

    def _make_file(self, parent_fd: int, name: bytes, entry: tar.Entry, reader: tar.Reader) -> None:
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent_fd)
        except FileExistsError:
            self._clear(parent_fd, name)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent_fd)
        try:
            while piece := reader.read():
                while piece:
                    piece = piece[os.write(fd, piece) :]
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)  # behind the owner, whose change takes setuid away
            _set_xattrs(fd, entry)
            mtime_ns = _bounded(entry.mtime_ns)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)

    def _make_special(self, parent_fd: int, name: bytes, entry: tar.Entry) -> None:
        if entry.kind == tar.HARDLINK:
            self._make_hardlink(parent_fd, name, entry)
            return
        try:
            self._node(parent_fd, name, entry)
        except FileExistsError:
            self._clear(parent_fd, name)
            self._node(parent_fd, name, entry)
        os.chown(name, entry.uid, entry.gid, dir_fd=parent_fd, follow_symlinks=False)
        if entry.kind != tar.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent_fd)
        mtime_ns = _bounded(entry.mtime_ns)
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent_fd, follow_symlinks=False)

    def _node(self, parent_fd: int, name: bytes, entry: tar.Entry) -> None:
        if entry.kind == tar.SYMLINK:
            _check_symlink(entry, self._limits.depth)
            os.symlink(entry.link, name, dir_fd=parent_fd)
            return
        major, minor = entry.device
        if entry.kind == tar.CHARACTER and not major and not minor:
            raise InvalidArgument(
                f"invalid tar: {tar.show(entry.name)} is a character device 0:0, an overlay whiteout"
            )
        if major >= 1 << 12 or minor >= 1 << 20:
            raise InvalidArgument(f"invalid tar: device {major}:{minor} of {tar.show(entry.name)}")
        os.mknod(name, _DEVICES[entry.kind] | 0o600, os.makedev(major, minor), dir_fd=parent_fd)

    def _make_hardlink(self, parent_fd: int, name: bytes, entry: tar.Entry) -> None:
        target_parent, _, target = clean(entry.link, self._limits.depth).rpartition(b"/")
        if not target:
            raise InvalidArgument(f"invalid tar: hard link {tar.show(entry.name)} to the root")
        target_fd = paths.open_in(self._root_fd, os.fsdecode(target_parent) or "/", _PATH_DIR)
        try:
            status = os.stat(target, dir_fd=target_fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                raise InvalidArgument(f"invalid tar: hard link {tar.show(entry.name)} to a directory")
            if _same(status, parent_fd, name):
                return
            self._clear(parent_fd, name)
            os.link(target, name, src_dir_fd=target_fd, dst_dir_fd=parent_fd, follow_symlinks=False)
        finally:
            os.close(target_fd)

    def _clear(self, parent_fd: int, name: bytes) -> None:
        """Remove what has the name; directories known by a path through it are forgotten."""
        try:
            kind = os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(kind) or stat.S_ISLNK(kind):
            self._forget(parent_fd)
        trees.remove_at(parent_fd, os.fsdecode(name))

    def _forget(self, keep: int = -1) -> None:
        for path, fd in list(self._directories.items()):
            if fd != keep:
                os.close(self._directories.pop(path))

    def _parent(self, path: bytes) -> int:
        fd = self._directories.get(path)
        if fd is None:
            if len(self._directories) >= _MAX_CACHED:
                self._forget()
            fd = paths.make_dirs_in(self._root_fd, os.fsdecode(path)) if path else os.dup(self._root_fd)
            self._directories[path] = fd
        return fd


def clean(name: bytes, depth: int) -> bytes:
    """The path of a member relative to the root, without ``.`` and ``..``; raises InvalidArgument if it
    leaves it.
    """
    if len(name) > _MAX_PATH:
        raise InvalidArgument(f"invalid tar: a name of {len(name)} bytes")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise InvalidArgument(f"invalid tar: {tar.show(name)} leads out of the root file system")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
            if len(part) > _MAX_NAME:
                raise InvalidArgument(f"invalid tar: {tar.show(name)} has a component of {len(part)} bytes")
    if len(parts) > depth:
        raise InvalidArgument(f"invalid tar: {tar.show(name)} is nested deeper than {depth}")
    return b"/".join(parts)


def _check_symlink(entry: tar.Entry, depth: int) -> None:
    """Refuse a link that leads out lexically, as docker does (inside a container it could not, but tools
    may follow it).
    """
    if not entry.link:
        raise InvalidArgument(f"invalid tar: symbolic link {tar.show(entry.name)} without target")
    parent = b"" if entry.link.startswith(b"/") else entry.name.rpartition(b"/")[0]
    try:
        clean(parent + b"/" + entry.link, depth)
    except InvalidArgument:
        link = tar.show(entry.link)
        raise InvalidArgument(
            f"invalid tar: symbolic link {tar.show(entry.name)} -> {link} leads out of the root file system"
        ) from None


def _set_xattrs(fd: int, entry: tar.Entry) -> None:
    """Set what an archive may set: file capabilities, ACLs and user attributes; never ``trusted`` or a
    label.
    """
    for key, value in entry.xattrs.items():
        if key == b"security.capability" or key.startswith((b"user.", b"system.posix_acl_")):
            os.setxattr(fd, key, value)


def _same(status: os.stat_result, parent_fd: int, name: bytes) -> bool:
    try:
        other = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == (other.st_dev, other.st_ino)


def _bounded(mtime_ns: int) -> int:
    return mtime_ns if 0 <= mtime_ns < _MAX_TIME_NS else 0
