"""Removes and measures directory trees by descriptor; nothing in them is trusted or followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from onggi.errors import KernelError
from onggi.kernel import syscalls

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = 100  # descriptors held at once; what lies deeper is first moved up


class _Removal:
    """One removal below ``parent_fd``; ``budget`` is how many entries may still go (None: all).

    With ``here`` what is mounted in the tree is not entered: OSError(EXDEV).
    """

    def __init__(self, parent_fd: int, budget: int | None, here: bool = False) -> None:
        self.parent_fd, self.budget, self.here = parent_fd, budget, here
        self.moved: list[str] = []

    def run(self, name: str) -> bool:
        """Delete ``name``; False if the budget did not suffice."""
        self.moved.append(name)
        counter = 0
        while self.moved:
            counter += 1
            if not self._remove(self.parent_fd, self.moved.pop(), f"{name}.deep{counter}.", 0):
                return False
        return True

    def _remove(self, directory_fd: int, name: str, prefix: str, depth: int) -> bool:
        try:
            fd = self._open(directory_fd, name)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            os.unlink(name, dir_fd=directory_fd)
            return True
        try:
            if not self._empty(fd, prefix, depth):
                return False
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=directory_fd)
        return True

    def _open(self, directory_fd: int, name: str) -> int:
        if not self.here:
            return os.open(name, _DIRECTORY, dir_fd=directory_fd)
        try:
            return syscalls.openat2(directory_fd, name, _DIRECTORY, 0, syscalls.RESOLVE_NO_XDEV)
        except KernelError as error:
            raise OSError(error.errno, os.strerror(error.errno), name) from None

    def _empty(self, fd: int, prefix: str, depth: int) -> bool:
        with os.scandir(fd) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for child, is_directory in found:
            if self.budget is not None:
                if self.budget <= 0:
                    return False
                self.budget -= 1
            if not is_directory:
                os.unlink(child, dir_fd=fd)
            elif depth >= _MAX_DEPTH:
                self.moved.append(f"{prefix}{len(self.moved)}")
                os.rename(child, self.moved[-1], src_dir_fd=fd, dst_dir_fd=self.parent_fd)
            elif not self._remove(fd, child, prefix, depth + 1):
                return False
        return True


def remove(path: str, limit: int = 0) -> bool:
    """Delete a tree of any depth. With ``limit``, stop after so many entries and return False; an absent
    tree is True.
    """
    parent, _, name = path.rpartition("/")
    try:
        parent_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return _Removal(parent_fd, limit or None).run(name)
    except OSError as error:
        raise KernelError("unlink", error.errno or 0, path) from None
    finally:
        os.close(parent_fd)


def remove_at(parent_fd: int, name: str, *, here: bool = False) -> None:
    """Delete a tree or file in a directory that is open; an absent one is fine. Raises OSError.

    With ``here`` nothing is deleted that is mounted in the tree.
    """
    _Removal(parent_fd, None, here).run(name)


def usage(path: str) -> int:
    """Bytes on disk of a tree, hard links once, as du(1) counts them."""
    return sum(status.st_blocks * 512 for status in _once(path))


def contents(path: str) -> int:
    """Bytes in the files of a tree, hard links once, as docker counts what a container wrote."""
    return sum(status.st_size for status in _once(path) if not stat.S_ISDIR(status.st_mode))


def _once(path: str) -> Iterator[os.stat_result]:
    """What each entry below a directory is, hard links once."""
    seen: set[tuple[int, int]] = set()
    pending = [path]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                        if (status.st_dev, status.st_ino) in seen:
                            continue
                        seen.add((status.st_dev, status.st_ino))
                    yield status
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            continue  # removed while we looked, or nested deeper than a path can name
