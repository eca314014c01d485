"""Detached mounts made in advance, for the operations of a plan that ask for just these."""

from __future__ import annotations

import os

from onggi.kernel import mounts
from onggi.kernel import syscalls as k
from onggi.runtime.plan import Filesystem

_NO_DEVICES = k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NODEV
_NOTHING = _NO_DEVICES | k.MOUNT_ATTR_NOEXEC
# docker's default mounts as (type, source, options, attributes); a plan that asks for anything else gets a
# new one.
_Key = tuple[str, str, tuple[tuple[str, str], ...], int]
_STOCK: tuple[_Key, ...] = (
    ("proc", "proc", (), _NOTHING),
    ("tmpfs", "tmpfs", (("mode", "755"), ("size", "65536k")), k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_STRICTATIME),
    (
        "devpts",
        "devpts",
        (("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")),
        k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NOEXEC,
    ),
    ("sysfs", "sysfs", (), _NOTHING | k.MOUNT_ATTR_RDONLY),
    ("tmpfs", "cgroup", (("mode", "755"), ("size", "64k")), _NOTHING),
    ("mqueue", "mqueue", (), _NOTHING),
    ("tmpfs", "shm", (("mode", "1777"), ("size", "67108864")), _NOTHING),
)


def key_of(op: Filesystem) -> _Key:
    """What decides whether a ready-made mount is the one an operation asks for."""
    return op.fstype, op.source, tuple((name, value) for name, value in op.options), op.attributes


class Shelf:
    """Ready-made detached mounts, each taken at most once."""

    def __init__(self) -> None:
        self._made: dict[_Key, int] = {}

    def stock(self) -> None:
        """Make docker's default mounts in the caller's namespaces."""
        for key in _STOCK:
            fstype, source, options, attributes = key
            self._made[key] = mounts.filesystem(fstype, source, options, attributes)

    def take(self, op: Filesystem) -> int | None:
        """The mount that an operation asks for, now the caller's, or None."""
        return self._made.pop(key_of(op), None)

    def clear(self) -> None:
        """Close what nobody took."""
        for fd in self._made.values():
            os.close(fd)
        self._made.clear()
