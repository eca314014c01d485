"""Unpacks what comes out of a container below a directory of this machine; nothing leaves that directory.

The archive is hostile until shown otherwise. Directories are entered one by one by descriptor and never
through a symbolic link, files are made anew and never written through one, and what would lead out is an
error. Owners, set-id bits, file capabilities and ACLs stay behind, because what they grant belongs to the
container's users, and devices are not made: here they would be this machine's.
"""

from __future__ import annotations

import os
import stat

from onggi.archive import tar
from onggi.archive.names import show
from onggi.cli.cp_paths import Plan, rename
from onggi.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Parts = tuple[bytes, ...]

_ENTER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SET_ID = stat.S_ISUID | stat.S_ISGID
_CAPABILITY, _USER = b"security.capability", b"user."
_IMPLIED_MODE = 0o755
_MAX_TIME_NS = (1 << 34) * 1_000_000_000  # what ext4 can hold


class Unpacker:
    """Unpacks the members of a stream as ``plan`` says, below its directory.

    ``without_rights`` counts files that lost set-id bits or capabilities. Raises InvalidArgument for what
    would lead out or was not asked for, Unsupported for devices, OSError with the path concerned.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan, self._root, root = plan, plan.directory, plan.directory
        self._root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._parent: Parts = ()
        self._parent_fd = os.dup(self._root_fd)
        self._late: dict[Parts, tuple[int, int, int]] = {}  # inode, mode and time of directories
        self.without_rights = 0

    def run(self, stream_fd: int) -> None:
        """Unpack the whole stream."""
        reader, old_umask = tar.Reader(stream_fd), os.umask(0)
        try:
            while entry := reader.next():
                self._add(entry, reader)
            reader.drain()
            # Last: files cannot be made in a directory that is closed, and change its time.
            for parts in sorted(self._late, reverse=True):
                self._finish(parts, *self._late[parts])
        finally:
            os.umask(old_umask)
            os.close(self._parent_fd)
            os.close(self._root_fd)

    def _add(self, entry: tar.Entry, reader: tar.Reader) -> None:
        parts = self._parts(rename(entry.name, self._plan.old, self._plan.new))
        if not parts:
            if entry.kind != tar.DIRECTORY:
                self._refuse_over_directory(parts)
            return  # the directory itself is there already, and is not the container's to change
        try:
            parent_fd, name = self._enter(parts[:-1]), parts[-1]
            self._make_room(parent_fd, name, parts, entry.kind == tar.DIRECTORY)
            self._makers()[entry.kind](parent_fd, name, parts, entry, reader)
        except OSError as error:
            error.filename = self._shown(parts)
            raise

    def _makers(self) -> dict[bytes, Callable[[int, bytes, Parts, tar.Entry, tar.Reader], None]]:
        return {
            tar.DIRECTORY: self._directory,
            tar.FILE: self._file,
            tar.SYMLINK: self._symlink,
            tar.HARDLINK: self._hardlink,
            tar.FIFO: self._fifo,
            tar.CHARACTER: self._device,
            tar.BLOCK_DEVICE: self._device,
        }

    # -- names ---------------------------------------------------------------------------------------------

    def _parts(self, name: bytes) -> Parts:
        parts = _lexical((), name)
        if parts is None:
            raise InvalidArgument(f'"{show(name)}" is outside of "{self._root}"')
        if parts and self._plan.top and parts[0] != os.fsencode(self._plan.top):
            raise InvalidArgument(f'"{show(name)}" is not what was asked for, which is "{self._plan.top}"')
        return parts

    def _shown(self, parts: Parts) -> str:
        return os.fsdecode(b"/".join((os.fsencode(self._root.rstrip("/")), *parts)))

    def _enter(self, parts: Parts) -> int:
        """Return the descriptor of a directory, made where it is missing; ours, until the next call."""
        if parts != self._parent:
            known = self._parent if parts[: len(self._parent)] == self._parent else ()
            fd = os.dup(self._parent_fd if known else self._root_fd)
            try:
                for at in range(len(known), len(parts)):
                    fd = self._step(fd, parts[: at + 1])
            except BaseException:
                os.close(fd)
                raise
            os.close(self._parent_fd)
            self._parent, self._parent_fd = parts, fd
        return self._parent_fd

    def _step(self, fd: int, parts: Parts) -> int:
        """Go down one directory: return its descriptor in exchange for ``fd``."""
        try:
            os.mkdir(parts[-1], _IMPLIED_MODE, dir_fd=fd)
        except FileExistsError:
            pass  # the usual case; what else has the name cannot be entered
        try:
            lower = os.open(parts[-1], _ENTER, dir_fd=fd)
        except NotADirectoryError:
            where = f'"{self._shown(parts)}" is no directory'
            raise InvalidArgument(f"cannot unpack through {where}; links are not followed") from None
        os.close(fd)
        return lower

    def _make_room(self, parent_fd: int, name: bytes, parts: Parts, directory: bool) -> None:
        """Remove what has the name, unless one of the two is a directory."""
        try:
            there = stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return
        if there and not directory:
            self._refuse_over_directory(parts)
        if directory and not there:
            shown = self._shown(parts)
            raise InvalidArgument(f'cannot overwrite non-directory "{shown}" with directory "{self._root}"')
        if not there:
            os.unlink(name, dir_fd=parent_fd)

    def _refuse_over_directory(self, parts: Parts) -> None:
        shown = self._shown(parts)
        raise InvalidArgument(f'cannot overwrite directory "{shown}" with non-directory "{self._root}"')

    # -- kinds ---------------------------------------------------------------------------------------------

    def _directory(self, fd: int, name: bytes, parts: Parts, entry: tar.Entry, reader: tar.Reader) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            pass  # merged with the one that is there
        inode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino
        self._late[parts] = (inode, entry.mode & ~_SET_ID, _bounded(entry.mtime_ns))

    def _file(self, fd: int, name: bytes, parts: Parts, entry: tar.Entry, reader: tar.Reader) -> None:
        own = os.open(name, _NEW, 0o600, dir_fd=fd)
        try:
            tar.write_data(own, entry, reader)
            os.fchmod(own, entry.mode & ~_SET_ID)
            for key, value in entry.xattrs.items():
                if key.startswith(_USER):
                    _set_xattr(own, key, value)
            self.without_rights += bool(entry.mode & _SET_ID or _CAPABILITY in entry.xattrs)
            os.utime(own, ns=(_bounded(entry.mtime_ns),) * 2)
        finally:
            os.close(own)

    def _symlink(self, fd: int, name: bytes, parts: Parts, entry: tar.Entry, reader: tar.Reader) -> None:
        # An absolute link means a path in the container: read as one below the root, it cannot lead out.
        if _lexical(parts[:-1], entry.link) is None:
            raise InvalidArgument(f'invalid symlink "{self._shown(parts)}" -> "{show(entry.link)}"')
        os.symlink(entry.link, name, dir_fd=fd)
        os.utime(name, ns=(_bounded(entry.mtime_ns),) * 2, dir_fd=fd, follow_symlinks=False)

    def _hardlink(self, fd: int, name: bytes, parts: Parts, entry: tar.Entry, reader: tar.Reader) -> None:
        target = self._parts(rename(entry.link, self._plan.old, self._plan.new))
        if not target:
            raise InvalidArgument(f'invalid hardlink "{self._shown(parts)}" -> "{show(entry.link)}"')
        own = os.dup(fd)  # entering another directory closes this one
        try:
            source = self._enter(target[:-1])
            os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=own, follow_symlinks=False)
        finally:
            os.close(own)

    def _fifo(self, fd: int, name: bytes, parts: Parts, entry: tar.Entry, reader: tar.Reader) -> None:
        os.mkfifo(name, entry.mode & ~_SET_ID, dir_fd=fd)
        os.utime(name, ns=(_bounded(entry.mtime_ns),) * 2, dir_fd=fd, follow_symlinks=False)

    def _device(self, fd: int, name: bytes, parts: Parts, entry: tar.Entry, reader: tar.Reader) -> None:
        raise Unsupported(
            f'"{show(entry.name)}" is a device: it is not made here, where it would be this machine\'s'
        )

    def _finish(self, parts: Parts, inode: int, mode: int, mtime_ns: int) -> None:
        fd = self._enter(parts)
        if os.fstat(fd).st_ino == inode:
            own = f"/proc/self/fd/{fd}"  # a descriptor that only names cannot be changed itself
            os.chmod(own, mode)
            os.utime(own, ns=(mtime_ns, mtime_ns))


def _lexical(start: tuple[bytes, ...], path: bytes) -> tuple[bytes, ...] | None:
    """Return where ``path`` leads from a directory, without a look at links; None if it leads out."""
    parts = list(start)
    for part in path.split(b"/"):
        if part == b"..":
            if not parts:
                return None
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return tuple(parts)


def _set_xattr(fd: int, key: bytes, value: bytes) -> None:
    try:
        os.setxattr(fd, key, value)
    except OSError:
        return  # a file system without them; docker's command does not bring them at all


def _bounded(mtime_ns: int) -> int:
    return mtime_ns if 0 <= mtime_ns < _MAX_TIME_NS else 0
