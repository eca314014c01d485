"""Unpacks an archive into a container that may be running, as ``docker cp`` does.

What is there is merged with what comes: directories with directories, all else is replaced. Nothing is
written through a link or into an existing file, nothing that is mounted in the container is deleted, and
nothing is written to file systems of the kernel.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from onggi.archive import tar, trees, walk
from onggi.archive.directories import Directories
from onggi.archive.extract import Extractor, Limits, Result
from onggi.archive.names import show
from onggi.errors import InvalidArgument, NotFound
from onggi.kernel import paths


class Options(NamedTuple):
    """``keep_kinds``: a directory is not replaced by anything else, nor the other way round; ``owner``: who
    gets everything (None: who the archive says).
    """

    keep_kinds: bool = False
    owner: tuple[int, int] | None = None


def copy_in(stream_fd: int, root_fd: int, path: str, limits: Limits, options: Options) -> Result:
    """Unpack the stream into the directory ``path`` inside the root, whose links are followed inside it.

    Raises what ``extract`` does; NotFound or InvalidArgument for a path that is no directory.
    """
    place = path.strip("/")
    fd = paths.open_in(root_fd, place or "/", os.O_PATH)
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise InvalidArgument("extraction point is not a directory")
        if walk.is_kernels(fd):
            raise NotFound(path)
    finally:
        os.close(fd)
    directories = Directories(root_fd, limits.depth, os.fsencode(place), _refuse_kernels)
    return _CopyIn(directories, limits, options, path).run(stream_fd)


def _refuse_kernels(fd: int, path: bytes) -> None:
    if walk.is_kernels(fd):
        raise InvalidArgument(f"/{show(path)} shows the kernel's state: nothing can be copied there")


class _CopyIn(Extractor):
    _marks_hide = False

    def __init__(self, directories: Directories, limits: Limits, options: Options, place: str) -> None:
        super().__init__(directories, limits)
        self._options, self._place = options, place

    def _add(self, entry: tar.Entry, reader: tar.Reader) -> None:
        if self._options.owner:
            uid, gid = self._options.owner
            entry = entry._replace(uid=uid, gid=gid)
        super()._add(entry, reader)

    def _root(self, entry: tar.Entry) -> None:
        """The place itself stays as it is."""

    def _dress(self, fd: int, entry: tar.Entry) -> None:
        """In a directory of the container's, owner and mode of what is new may be inherited from it."""
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)

    def _own(self, parent_fd: int, name: bytes, entry: tar.Entry) -> None:
        os.chown(name, entry.uid, entry.gid, dir_fd=parent_fd, follow_symlinks=False)

    def _clear(self, parent_fd: int, name: bytes, entry: tar.Entry, keep: int = -1) -> None:
        is_directory = stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode)
        if self._options.keep_kinds and is_directory != (entry.kind == tar.DIRECTORY):
            old, new = ("directory", "non-directory") if is_directory else ("non-directory", "directory")
            target = f"{self._place.rstrip('/')}/{show(entry.name).lstrip('/')}"
            raise InvalidArgument(f'cannot overwrite {old} "{target}" with {new} "{self._place}"')
        super()._clear(parent_fd, name, entry, keep)

    def _remove(self, parent_fd: int, name: bytes) -> None:
        trees.remove_at(parent_fd, os.fsdecode(name), here=True)
