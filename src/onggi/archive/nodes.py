"""Makes the file system objects of archive members, by the descriptor of their directory and one name."""

from __future__ import annotations

import os
import stat

from onggi.archive import overlay, tar
from onggi.archive.names import show
from onggi.errors import InvalidArgument

_MAX_TIME_NS = (1 << 34) * 1_000_000_000  # what ext4 can hold
_DEVICES = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}


def make_node(parent_fd: int, name: bytes, entry: tar.Entry) -> None:
    """A symbolic link, device or FIFO; FileExistsError if there is something."""
    if entry.kind == tar.SYMLINK:
        # Just text: whoever follows it does so inside a root.
        if not entry.link:
            raise InvalidArgument(f"invalid tar: symbolic link {show(entry.name)} without target")
        os.symlink(entry.link, name, dir_fd=parent_fd)
        return
    major, minor = entry.device
    if entry.kind == tar.CHARACTER and os.makedev(major, minor) in overlay.DEVICES:
        raise InvalidArgument(
            f"invalid tar: {show(entry.name)} is a character device {major}:{minor}, an overlay whiteout"
        )
    if major >= 1 << 12 or minor >= 1 << 20:
        raise InvalidArgument(f"invalid tar: device {major}:{minor} of {show(entry.name)}")
    os.mknod(name, _DEVICES[entry.kind] | entry.mode, os.makedev(major, minor), dir_fd=parent_fd)


def link(target_fd: int, target: bytes, parent_fd: int, name: bytes) -> None:
    """A hard link; FileExistsError if there is something."""
    try:
        os.link(target, name, src_dir_fd=target_fd, dst_dir_fd=parent_fd, follow_symlinks=False)
    except PermissionError:
        raise InvalidArgument(f"invalid tar: hard link {show(name)} to a directory") from None


def same(fd: int, name: bytes, other_fd: int, other: bytes) -> bool:
    """Whether two names are one file."""
    one = os.stat(name, dir_fd=fd, follow_symlinks=False)
    two = os.stat(other, dir_fd=other_fd, follow_symlinks=False)
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)


def set_xattrs(fd: int, xattrs: dict[bytes, bytes]) -> None:
    """Set what an archive may set, never ``trusted`` or a label."""
    for key, value in xattrs.items():
        if is_portable(key):
            os.setxattr(fd, key, value)


def is_portable(key: bytes) -> bool:
    """Whether an attribute is the file's own: its capabilities, ACLs and user attributes."""
    return key == b"security.capability" or key.startswith((b"user.", b"system.posix_acl_"))


def bounded(mtime_ns: int) -> int:
    """A time that file systems can hold; all others are the epoch, as with docker."""
    return mtime_ns if 0 <= mtime_ns < _MAX_TIME_NS else 0
