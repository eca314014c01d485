"""Copies layers into one tree, as an overlay would show them: the topmost of a name wins, what is marked as
deleted is left out, hard links within a layer stay links.

By descriptors and single names; no link is followed. Layers are immutable and the target is new.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Sequence

from onggi.archive.overlay import ATTRIBUTES, is_opaque, is_whiteout

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SOURCE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TARGET = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FICLONE = 0x40049409
_PIECE = 1 << 24
_NOT_HERE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ETXTBSY)


def merge(layers: Sequence[str], target: str) -> None:
    """Fill the new directory ``target`` from ``layers``, top first. Blocking. Raises OSError."""
    with contextlib.ExitStack() as stack:
        target_fd = _opened(stack, target)
        _Merge(target_fd).directory([_opened(stack, layer) for layer in layers], target_fd, "")


def copy_directory(source_fd: int, target_fd: int) -> None:
    """Fill an empty directory with what another has, and make it as that one is. Raises OSError.

    Attributes that the target's file system, or our rights, do not allow are left out.
    """
    _Merge(target_fd, (errno.ENOTSUP, errno.EPERM)).directory([source_fd], target_fd, "")


class _Merge:
    """``without``: errors for which an extended attribute is left out."""

    def __init__(self, root_fd: int, without: Sequence[int] = ()) -> None:
        self._root_fd, self._without = root_fd, without
        self._links: dict[tuple[int, int], str] = {}  # files of several names, by their first in the target

    def directory(self, sources: Sequence[int], target_fd: int, path: str) -> None:
        """Fill one directory from those that make it up, and make it as the topmost is."""
        for name, layers in self._names(sources).items():
            status = os.stat(name, dir_fd=layers[0], follow_symlinks=False)
            if is_whiteout(status):
                continue
            inside = f"{path}/{name}" if path else name
            if stat.S_ISDIR(status.st_mode):
                self._below(layers, target_fd, name, inside)
            else:
                self._leaf(layers[0], target_fd, name, inside, status)
        self._adjust(sources[0], target_fd)

    def _names(self, sources: Sequence[int]) -> dict[str, list[int]]:
        """Which layers have each name, top first."""
        found: dict[str, list[int]] = {}
        for fd in sources:
            for name in os.listdir(fd):
                found.setdefault(name, []).append(fd)
        return found

    def _below(self, layers: Sequence[int], target_fd: int, name: str, path: str) -> None:
        os.mkdir(name, 0o700, dir_fd=target_fd)
        with contextlib.ExitStack() as stack:
            sources: list[int] = []
            for layer in layers:
                try:
                    sources.append(_opened(stack, name, layer))
                except OSError as error:
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                        raise
                    break  # a file, a link or a whiteout: what is below does not show
                if is_opaque(sources[-1]):
                    break
            self.directory(sources, _opened(stack, name, target_fd), path)

    def _leaf(self, source: int, target_fd: int, name: str, path: str, status: os.stat_result) -> None:
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and key in self._links:
            os.link(
                self._links[key], name, src_dir_fd=self._root_fd, dst_dir_fd=target_fd, follow_symlinks=False
            )
            return
        if stat.S_ISREG(status.st_mode):
            self._file(source, target_fd, name)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target_fd)
            _dress(target_fd, name, status)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target_fd)
            _dress(target_fd, name, status)
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target_fd)
        if status.st_nlink > 1:
            self._links[key] = path

    def _file(self, source: int, target_fd: int, name: str) -> None:
        with contextlib.ExitStack() as stack:
            read_fd = os.open(name, _SOURCE, dir_fd=source)
            stack.callback(os.close, read_fd)
            write_fd = os.open(name, _TARGET, 0o600, dir_fd=target_fd)
            stack.callback(os.close, write_fd)
            _copy_data(read_fd, write_fd)
            self._adjust(read_fd, write_fd)

    def _adjust(self, from_fd: int, to_fd: int) -> None:
        """Owner, then mode (a change of owner takes set-id bits away), attributes and times."""
        status = os.fstat(from_fd)
        os.fchown(to_fd, status.st_uid, status.st_gid)
        os.fchmod(to_fd, stat.S_IMODE(status.st_mode))
        for name in os.listxattr(from_fd):
            if not name.startswith(ATTRIBUTES):
                self._attribute(from_fd, to_fd, name)
        os.utime(to_fd, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _attribute(self, from_fd: int, to_fd: int, name: str) -> None:
        try:
            os.setxattr(to_fd, name, os.getxattr(from_fd, name))
        except OSError as error:
            if error.errno not in self._without:
                raise


def _copy_data(read_fd: int, write_fd: int) -> None:
    """Shared extents where there are, else a copy in the kernel, else one by hand."""
    try:
        fcntl.ioctl(write_fd, _FICLONE, read_fd)
        return
    except OSError as error:
        if error.errno not in (*_NOT_HERE, errno.ENOTTY):
            raise
    try:
        while os.copy_file_range(read_fd, write_fd, _PIECE):
            continue
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        while data := os.read(read_fd, _PIECE):
            view = memoryview(data)
            while view:
                view = view[os.write(write_fd, view) :]


def _dress(directory_fd: int, name: str, status: os.stat_result) -> None:
    os.chown(name, status.st_uid, status.st_gid, dir_fd=directory_fd, follow_symlinks=False)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=directory_fd, follow_symlinks=False)


def _opened(stack: contextlib.ExitStack, name: str, directory_fd: int | None = None) -> int:
    fd = os.open(name, _DIRECTORY, dir_fd=directory_fd)
    stack.callback(os.close, fd)
    return fd
