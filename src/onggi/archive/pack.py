"""Writes a tree, or one file of it, as a tar stream."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from onggi.archive import nodes, tar, walk
from onggi.archive.names import show
from onggi.archive.walk import Found, Opener
from onggi.archive.writer import Writer
from onggi.errors import KernelError, NotFound
from onggi.kernel import paths

_KINDS = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}
_SECOND = 1_000_000_000


class Packer:
    """Members of one archive, made of files; ``dress`` changes what their headers say."""

    def __init__(self, out_fd: int, dress: Callable[[tar.Entry], tar.Entry] | None = None) -> None:
        self._writer, self._dress = Writer(out_fd), dress
        self._links: dict[tuple[int, int], bytes] = {}  # the first name of files that have several
        self.entries = 0

    def add(self, found: Found, name: bytes) -> None:
        """A member called ``name``; sockets are left out, as by every tar."""
        entry = entry_of(found, name)
        if entry is None:
            return
        status = found.status
        if status.st_nlink > 1 and entry.kind != tar.DIRECTORY:
            first = self._links.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                entry = entry._replace(kind=tar.HARDLINK, link=first, size=0, xattrs={})
        self.put(entry, found.fd)

    def put(self, entry: tar.Entry, fd: int = -1) -> None:
        """A member, with what is in ``fd`` as its data where it has a size."""
        self._writer.add(self._dress(entry) if self._dress else entry)
        if entry.size:
            self._writer.data(fd, entry.size)
        self.entries += 1

    def finish(self) -> dict[str, int]:
        """End the archive; how much was packed."""
        self._writer.finish()
        return {"entries": self.entries, "bytes": self._writer.bytes}


def entry_of(found: Found, name: bytes) -> tar.Entry | None:
    """The header of a file, None for a socket. Times are in whole seconds, so that digests can be compared
    with those of other tools.
    """
    status = found.status
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    return tar.Entry(
        name=name + b"/" if kind == tar.DIRECTORY and not name.endswith(b"/") else name,
        kind=kind,
        size=status.st_size if kind == tar.FILE else 0,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns // _SECOND * _SECOND,
        link=found.link,
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if status.st_rdev else (0, 0),
        xattrs=xattrs_of(found.fd) if found.fd >= 0 else {},
    )


def xattrs_of(fd: int) -> dict[bytes, bytes]:
    """The extended attributes that an archive may set."""
    keys = map(os.fsencode, os.listxattr(fd))
    return {key: os.getxattr(fd, key) for key in keys if nodes.is_portable(key)}


def pack(root_fd: int, out_fd: int, path: str, name: str | None, opener: Opener) -> dict[str, int]:
    """Write what ``path`` leads to inside the root, as ``name`` and below; without a name what is in the
    directory, as an export has it. A symbolic link at the end of the path is not followed, but with ``/`` or
    ``/.`` behind it.

    File systems of the kernel are shown as empty directories. Raises NotFound, InvalidArgument, KernelError.
    """
    packer = Packer(out_fd)
    try:
        for found in _tree(root_fd, path, opener):
            if name is not None:
                packer.add(found, _join(os.fsencode(name), found.path))
            elif found.path:
                packer.add(found, found.path)
        return packer.finish()
    except OSError as error:
        raise KernelError("pack", error.errno or 0, show(os.fsencode(path))) from None


def _tree(root_fd: int, path: str, opener: Opener) -> Iterator[Found]:
    above, _, name = path.rpartition("/")
    parent_fd = paths.open_in(root_fd, above or "/", os.O_PATH | os.O_DIRECTORY)
    try:
        top = opener.open(parent_fd, os.fsencode(name) or b".", b"")
        if top is None or (top.fd >= 0 and walk.is_kernels(top.fd)):
            raise NotFound(path)
        try:
            yield from walk.walk(top, opener, lambda found: not walk.is_kernels(found.fd))
        finally:
            if top.fd >= 0:
                os.close(top.fd)
    finally:
        os.close(parent_fd)


def _join(name: bytes, path: bytes) -> bytes:
    """docker's names: those of the root have a leading slash, as it replaces ``/`` by nothing."""
    if name == b"/":
        return b"/" + path
    return name + b"/" + path if path else name
