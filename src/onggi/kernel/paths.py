"""Paths inside a tree that somebody else controls (rule R1): resolved by the kernel from a root descriptor,
used by descriptor.

There is no string join here and no second resolution: what was opened is what is used.
"""

from __future__ import annotations

import errno
import os
import stat

from onggi.errors import InvalidArgument, KernelError
from onggi.kernel import syscalls
from onggi.kernel.syscalls import RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS

_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
_MAX_DEPTH = 4096  # PATH_MAX: more components than this cannot be named anyway


def names_of(path: str) -> list[str]:
    """The names that a path is made of: ``.`` and empty ones lead nowhere."""
    return [name for name in path.split("/") if name not in ("", ".")]


def open_root(path: str) -> int:
    """An O_PATH descriptor of the directory that will be the root of later calls; the caller closes it."""
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None


def open_in(root_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open ``path`` as a process chrooted to ``root_fd`` would; symbolic links cannot leave, magic links are
    refused.
    """
    return syscalls.openat2(root_fd, path or ".", flags, mode, _IN_ROOT)


def open_beneath(dir_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open ``path`` below ``dir_fd``; EXDEV if ``..``, an absolute path or a link would leave it."""
    return syscalls.openat2(dir_fd, path or ".", flags, mode, _BENEATH)


def make_dirs_in(root_fd: int, path: str, mode: int = 0o755) -> int:
    """Open the directory ``path`` inside the root, made with its parents where absent; returns an O_PATH
    descriptor.

    Raises KernelError(ENOTDIR) if a component is something else.
    """
    try:
        return open_in(root_fd, path, os.O_PATH | os.O_DIRECTORY)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    parent, name = _split(path)
    parent_fd = (
        make_dirs_in(root_fd, parent, mode) if parent else open_in(root_fd, "/", os.O_PATH | os.O_DIRECTORY)
    )
    try:
        _make_dir(parent_fd, name, mode, path)
        # The new name is resolved from the descriptor: a link that took its place meanwhile is refused.
        return syscalls.openat2(parent_fd, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, 0, _BENEATH)
    finally:
        os.close(parent_fd)


def make_file_in(root_fd: int, path: str, mode: int = 0o644) -> int:
    """Open ``path`` (O_PATH), made as an empty regular file with its parent directories where absent."""
    try:
        return open_in(root_fd, path, os.O_PATH)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    parent, name = _split(path)
    parent_fd = make_dirs_in(root_fd, parent)
    try:
        os.close(open_beneath(parent_fd, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode))
        return open_beneath(parent_fd, name, os.O_PATH | os.O_NOFOLLOW)
    finally:
        os.close(parent_fd)


def read_file_in(root_fd: int, path: str, limit: int = 1 << 20) -> bytes | None:
    """The bytes of a small file that belongs to a container (rule R7), or None if it is absent.

    Raises InvalidArgument if it is no regular file (a FIFO would hang us, a device never ends) or over
    ``limit`` bytes.
    """
    try:
        fd = open_in(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidArgument(f"{path} in the container's file system is not a regular file")
        return _read_all(fd, path, limit)
    finally:
        os.close(fd)


def _read_all(fd: int, path: str, limit: int) -> bytes:
    parts, size = [], 0
    while chunk := os.read(fd, 65536):
        size += len(chunk)
        if size > limit:
            raise InvalidArgument(f"{path} in the container's file system is larger than {limit} bytes")
        parts.append(chunk)
    return b"".join(parts)


def _make_dir(parent_fd: int, name: str, mode: int, path: str) -> None:
    try:
        os.mkdir(name, mode, dir_fd=parent_fd)
    except FileExistsError:
        pass  # made by somebody else since we looked; the open that follows decides whether it is a directory
    except OSError as error:
        raise KernelError("mkdir", error.errno or 0, path) from None


def _split(path: str) -> tuple[str, str]:
    """The parent and last name of a path; ``..`` is refused, since it cannot be made."""
    names = names_of(path)
    if not names or len(names) > _MAX_DEPTH or ".." in names:
        raise InvalidArgument(f"invalid path in the container's file system: {path[:200]!r}")
    return "/".join(names[:-1]), names[-1]
