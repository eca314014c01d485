"""Unpacks a tar stream below a directory descriptor; no path leaves it.

Every name is resolved by the kernel inside the root (openat2, rule R1) and used by descriptor. Caps are
checked before anything is made. The caller confines the process first, see ``confine.py``; this module
alone must hold as well.

Most of the time goes into system calls, so that none is made that changes nothing: the root is a fresh
directory that nobody else writes to, and what is made there belongs to the maker already.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from onggi.archive import names, nodes, overlay, tar, trees
from onggi.archive.directories import Directories
from onggi.archive.names import clean, show
from onggi.errors import InvalidArgument, KernelError, Unsupported

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LATE_XATTRS = 16 << 20  # bytes
_MAX_IMPLIED = 32 << 20  # bytes of the paths that are reported
_SPECIAL_BITS = 0o7000
_DOTS = (b"", b".", b"..")
_Paths = list[bytes]


class Limits(NamedTuple):
    """Caps of one archive: number of entries, bytes of file data, components of a path."""

    entries: int = 2_000_000
    bytes: int = 1 << 40
    depth: int = 256


class Result(NamedTuple):
    """What was unpacked. ``implied`` are directories that no member describes (``""`` is the root); beyond a
    cap they are left out and ``implied_cut`` is true. ``opaque`` are those that hide what is below them.
    """

    entries: int
    bytes: int
    implied: list[str]
    implied_cut: bool
    opaque: _Paths


class _Late(NamedTuple):
    """What a directory gets at the end, lest it change its entries or is changed by them: times, set-id bits
    and default ACLs, which are inherited.
    """

    inode: int
    mode: int
    mtime_ns: int
    xattrs: dict[bytes, bytes]

    def apply(self, fd: int) -> None:
        """Change the directory."""
        if self.mode & _SPECIAL_BITS:
            os.fchmod(fd, self.mode)
        nodes.set_xattrs(fd, self.xattrs)
        os.utime(fd, ns=(self.mtime_ns, self.mtime_ns))


def extract(
    stream_fd: int,
    root_fd: int,
    limits: Limits = Limits(),  # noqa: B008 - immutable
    *,
    layer: overlay.Marks | None = None,
) -> Result:
    """Unpack the stream below ``root_fd``, a fresh directory, and read it to its end.

    Whiteouts are refused, or in a ``layer`` made as its marks say; to mark ``Result.opaque`` is left to the
    caller. Raises InvalidArgument for a malformed or hostile archive or one beyond the limits, Unsupported
    for what we do not unpack, KernelError for the file system's refusals. What was unpacked so far stays for
    the caller to remove.
    """
    return Extractor(Directories(root_fd, limits.depth), limits, layer).run(stream_fd)


class Extractor:
    """Unpacks one archive below the directory that ``directories`` begins at."""

    _marks_hide = True  # names like whiteouts mean what they mean in layers

    def __init__(self, directories: Directories, limits: Limits, layer: overlay.Marks | None = None) -> None:
        self._directories, self._limits, self._layer = directories, limits, layer
        self._late: dict[bytes, _Late] = {}
        self._late_xattrs = 0
        self._whiteouts: _Paths = []
        self._owner = (os.geteuid(), os.getegid())
        self._entries = self._bytes = 0
        self._directories.implied[b""] = None

    def run(self, stream_fd: int) -> Result:
        """Unpack the stream and read it to its end."""
        old_umask = os.umask(0)
        try:
            reader = tar.Reader(stream_fd)
            while entry := reader.next():
                self._add(entry, reader)
            self._finish()
            reader.drain()
            return self._result()
        finally:
            self._directories.forget()
            os.umask(old_umask)

    def _add(self, entry: tar.Entry, reader: tar.Reader) -> None:
        self._count(entry)
        parent, _, name = entry.name.rstrip(b"/").rpartition(b"/")
        if name in _DOTS or len(name) > 255:
            parent, _, name = clean(entry.name, self._limits.depth).rpartition(b"/")
        elif not self._directories.knows(parent):
            clean(entry.name, self._limits.depth)  # raises, once for all its siblings
        try:
            if names.is_marked(entry.name) and self._marks_hide:
                self._hide(clean(entry.name, self._limits.depth), entry)
            elif name:
                self._make(parent, name, entry, reader)
            else:
                self._root(entry)
        except OSError as error:
            raise KernelError("extract", error.errno or 0, show(entry.name)) from None

    def _finish(self) -> None:
        """Give directories what waited for the end."""
        for path in self._whiteouts:
            self._drop_needless(path)
        for path, late in self._late.items():
            try:
                fd = self._open_directory(path)
            except (KernelError, OSError):
                continue  # a later member took its place
            try:
                if os.fstat(fd).st_ino == late.inode:
                    late.apply(fd)
            except OSError as error:
                raise KernelError("extract", error.errno or 0, show(path)) from None
            finally:
                os.close(fd)

    def _result(self) -> Result:
        implied, room = [], _MAX_IMPLIED
        for path in self._directories.implied:
            room -= len(path) + 3
            if room < 0:
                break
            implied.append(os.fsdecode(path))
        opaque = sorted(self._directories.opaque)
        return Result(self._entries, self._bytes, implied, room < 0, opaque)

    def _count(self, entry: tar.Entry) -> None:
        self._entries += 1
        self._bytes += entry.size
        if self._entries > self._limits.entries:
            raise InvalidArgument(f"archive has more than {self._limits.entries} entries")
        if self._bytes > self._limits.bytes:
            raise InvalidArgument(f"archive unpacks to more than {self._limits.bytes} bytes")

    # -- by kind -------------------------------------------------------------------------------------------

    def _make(self, parent: bytes, name: bytes, entry: tar.Entry, reader: tar.Reader) -> None:
        parent_fd, path = self._directories.get(parent)
        if entry.kind == tar.FILE:
            self._make_file(parent_fd, name, entry, reader)
        elif entry.kind == tar.DIRECTORY:
            self._make_directory(parent_fd, name, b"%b/%b" % (path, name) if path else name, entry)
        elif entry.kind == tar.HARDLINK:
            self._make_hardlink(parent_fd, name, entry)
        else:
            self._make_special(parent_fd, name, entry)

    def _root(self, entry: tar.Entry) -> None:
        if entry.kind != tar.DIRECTORY:
            raise InvalidArgument(f"invalid tar: {show(entry.name)} names the root and is no directory")
        fd = self._open_directory(b"")
        try:
            self._adjust_directory(fd, b"", entry)
        finally:
            os.close(fd)

    def _make_directory(self, parent_fd: int, name: bytes, path: bytes, entry: tar.Entry) -> None:
        try:
            os.mkdir(name, entry.mode & ~_SPECIAL_BITS, dir_fd=parent_fd)
        except FileExistsError:
            self._take_place(parent_fd, name, path, entry)
            return
        self._own(parent_fd, name, entry)
        self._later(path, os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_ino, entry)

    def _take_place(self, parent_fd: int, name: bytes, path: bytes, entry: tar.Entry) -> None:
        """Make a directory of what has its name already."""
        status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        if overlay.is_whiteout(status):
            self._directories.revive(parent_fd, name, path, 0o700)
        elif not stat.S_ISDIR(status.st_mode):
            self._clear(parent_fd, name, entry)
            os.mkdir(name, 0o700, dir_fd=parent_fd)
        fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
        try:
            self._adjust_directory(fd, path, entry)
        finally:
            os.close(fd)

    def _adjust_directory(self, fd: int, path: bytes, entry: tar.Entry) -> None:
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode & ~_SPECIAL_BITS)
        self._directories.implied.pop(path, None)
        self._later(path, os.fstat(fd).st_ino, entry)

    def _own(self, parent_fd: int, name: bytes, entry: tar.Entry) -> None:
        """The owner of what was just made; it belongs to the maker already."""
        if (entry.uid, entry.gid) != self._owner:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent_fd, follow_symlinks=False)

    def _later(self, path: bytes, inode: int, entry: tar.Entry) -> None:
        self._late_xattrs += sum(map(len, entry.xattrs.values()))
        if self._late_xattrs > _MAX_LATE_XATTRS:
            raise InvalidArgument("archive has too many extended attributes of directories")
        self._late[path] = _Late(inode, entry.mode, nodes.bounded(entry.mtime_ns), entry.xattrs)

    def _make_file(self, parent_fd: int, name: bytes, entry: tar.Entry, reader: tar.Reader) -> None:
        mode = entry.mode & ~_SPECIAL_BITS
        try:
            fd = os.open(name, _NEW_FILE, mode, dir_fd=parent_fd)
        except FileExistsError:
            self._clear(parent_fd, name, entry)
            fd = os.open(name, _NEW_FILE, mode, dir_fd=parent_fd)
        try:
            tar.write_data(fd, entry, reader)
            self._dress(fd, entry)
            if entry.xattrs:
                nodes.set_xattrs(fd, entry.xattrs)
            mtime_ns = nodes.bounded(entry.mtime_ns)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)

    def _dress(self, fd: int, entry: tar.Entry) -> None:
        """Owner and mode of a new file, which was made with the mode but its special bits."""
        if (entry.uid, entry.gid) != self._owner:
            os.fchown(fd, entry.uid, entry.gid)
        if entry.mode & _SPECIAL_BITS:
            os.fchmod(fd, entry.mode)  # behind the owner, whose change takes setuid away

    def _make_special(self, parent_fd: int, name: bytes, entry: tar.Entry) -> None:
        try:
            nodes.make_node(parent_fd, name, entry)
        except FileExistsError:
            self._clear(parent_fd, name, entry)
            nodes.make_node(parent_fd, name, entry)
        self._own(parent_fd, name, entry)
        mtime_ns = nodes.bounded(entry.mtime_ns)
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent_fd, follow_symlinks=False)

    def _make_hardlink(self, parent_fd: int, name: bytes, entry: tar.Entry) -> None:
        target_parent, _, target = clean(entry.link, self._limits.depth).rpartition(b"/")
        if not target:
            raise InvalidArgument(f"invalid tar: hard link {show(entry.name)} to the root")
        own = os.dup(parent_fd)  # looking up another directory may close this one
        try:
            target_fd, _ = self._directories.get(target_parent)
            try:
                nodes.link(target_fd, target, own, name)
            except FileExistsError:
                if not nodes.same(target_fd, target, own, name):
                    self._clear(own, name, entry, keep=target_fd)
                    nodes.link(target_fd, target, own, name)
        except FileNotFoundError:
            message = f"invalid tar: hard link {show(entry.name)} to {show(entry.link)}, which is not there"
            raise InvalidArgument(message) from None
        finally:
            os.close(own)

    # -- whiteouts -----------------------------------------------------------------------------------------

    def _hide(self, path: bytes, entry: tar.Entry) -> None:
        if self._layer is None:
            raise InvalidArgument(
                f"invalid root file system: {show(entry.name)} is a whiteout of an image layer"
            )
        hidden = names.hidden_name(path)
        if entry.kind not in (tar.FILE, tar.HARDLINK):
            raise InvalidArgument(f"invalid layer: the whiteout {show(entry.name)} is no file")
        if path == names.OPAQUE:
            raise Unsupported("a layer that hides everything below it, by a whiteout of the root")
        try:
            parent_fd, parent = self._directories.get(path.rpartition(b"/")[0], revive=False)
        except NotADirectoryError:
            return  # this layer has removed it already, with all that was in it
        if not hidden:
            self._directories.opaque.add(parent)
            return
        try:
            overlay.make_whiteout(parent_fd, hidden, self._layer)
            self._whiteouts.append(b"%b/%b" % (parent, hidden))
        except FileExistsError:
            # What the layer itself has by this name stays, and hides what is below; a directory needs help.
            if stat.S_ISDIR(os.stat(hidden, dir_fd=parent_fd, follow_symlinks=False).st_mode):
                self._directories.opaque.add(b"%b/%b" % (parent, hidden) if parent else hidden)

    def _drop_needless(self, path: bytes) -> None:
        """Remove a whiteout in an opaque directory or below one: overlay would list it there as a file."""
        parent, _, name = path.rpartition(b"/")
        above = parent
        while above and above not in self._directories.opaque:
            above = above.rpartition(b"/")[0]
        if not above:
            return
        try:
            parent_fd = self._directories.find(parent)
            if overlay.is_whiteout(os.stat(name, dir_fd=parent_fd, follow_symlinks=False)):
                os.unlink(name, dir_fd=parent_fd)
        except (KernelError, OSError):
            return  # a later member took its place

    # -- helpers -------------------------------------------------------------------------------------------

    def _clear(self, parent_fd: int, name: bytes, entry: tar.Entry, keep: int = -1) -> None:
        """Remove what has the name of a member; directories known by a path through it are forgotten."""
        kind = os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode
        if stat.S_ISDIR(kind) or stat.S_ISLNK(kind):
            self._directories.forget(parent_fd if keep < 0 else keep)
        self._remove(parent_fd, name)

    def _remove(self, parent_fd: int, name: bytes) -> None:
        trees.remove_at(parent_fd, os.fsdecode(name))

    def _open_directory(self, path: bytes) -> int:
        parent, _, name = path.rpartition(b"/")
        return os.open(name or b".", _DIRECTORY, dir_fd=self._directories.find(parent))
