"""A directory tree as data, to compare what two tools made of one archive."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any


def describe(root: str | Path, *, times: bool = True) -> dict[str, dict[str, Any]]:
    """Path below ``root`` -> all that counts of it; ``same`` is the first path of its inode."""
    found: dict[str, dict[str, Any]] = {}
    inodes: dict[int, str] = {}
    base = os.fsencode(root)
    for path in [base, *sorted(_walk(base))]:
        name = os.fsdecode(path[len(base) :].lstrip(b"/")) or "."
        found[name] = _describe(path, inodes.setdefault(os.lstat(path).st_ino, name), times)
    return found


def _walk(directory: bytes) -> list[bytes]:
    found = []
    for above, directories, files in os.walk(directory):
        found += [os.path.join(above, name) for name in directories + files]
    return found


def _describe(path: bytes, same_as: str, times: bool) -> dict[str, Any]:
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    facts: dict[str, Any] = {
        "mode": oct(status.st_mode),
        "owner": (status.st_uid, status.st_gid),
        "same": same_as,
        "xattrs": {key: os.getxattr(path, key, follow_symlinks=False) for key in _xattrs(path)},
    }
    if times:
        facts["mtime"] = status.st_mtime_ns
    if kind == stat.S_IFLNK:
        facts["link"] = os.readlink(path)
    elif kind == stat.S_IFREG:
        facts["size"], facts["holes"] = status.st_size, status.st_blocks * 512 < status.st_size
        facts["data"] = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        facts["device"] = status.st_rdev
    return facts


def _xattrs(path: bytes) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))
