"""Looks at device files of the host for ``--device``, throttles and privileged containers."""

from __future__ import annotations

import os
import stat

from onggi.containers.spec_resources import DeviceNode

# The runtime makes or mounts these itself.
_OWN = frozenset(("/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/console", "/dev/lxc", "/dev/.lxc"))
_STANDARD = frozenset(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx"))


def _node(path: str) -> DeviceNode | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        return None
    major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return DeviceNode(path, kind, major, minor, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def look_up(path: str) -> list[DeviceNode]:
    """The device at ``path``, or those below a directory.

    Standard nodes and links below /dev are left out.
    """
    if not os.path.isdir(path):
        node = _node(path)
        return [node] if node else []
    found: list[DeviceNode] = []
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.path in _OWN or entry.path in _STANDARD or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                found += look_up(entry.path)
            elif node := _node(entry.path):
                found.append(node)
    return found
