"""Mount options of config.json as kernel flags (runtime-spec config.md#mounts, mount(8))."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from onggi.errors import Unsupported
from onggi.kernel import syscalls as k

_SET = {
    "ro": k.MOUNT_ATTR_RDONLY,
    "nosuid": k.MOUNT_ATTR_NOSUID,
    "nodev": k.MOUNT_ATTR_NODEV,
    "noexec": k.MOUNT_ATTR_NOEXEC,
    "noatime": k.MOUNT_ATTR_NOATIME,
    "strictatime": k.MOUNT_ATTR_STRICTATIME,
    "nodiratime": k.MOUNT_ATTR_NODIRATIME,
    "nosymfollow": k.MOUNT_ATTR_NOSYMFOLLOW,
}
_CLEAR = {
    "rw": k.MOUNT_ATTR_RDONLY,
    "suid": k.MOUNT_ATTR_NOSUID,
    "dev": k.MOUNT_ATTR_NODEV,
    "exec": k.MOUNT_ATTR_NOEXEC,
    "atime": k.MOUNT_ATTR__ATIME,
    "relatime": k.MOUNT_ATTR__ATIME,
    "norelatime": k.MOUNT_ATTR__ATIME,
    "nostrictatime": k.MOUNT_ATTR__ATIME,
    "diratime": k.MOUNT_ATTR_NODIRATIME,
    "symfollow": k.MOUNT_ATTR_NOSYMFOLLOW,
}
_PROPAGATION = {
    "shared": k.MS_SHARED,
    "rshared": k.MS_SHARED | k.MS_REC,
    "slave": k.MS_SLAVE,
    "rslave": k.MS_SLAVE | k.MS_REC,
    "private": k.MS_PRIVATE,
    "rprivate": k.MS_PRIVATE | k.MS_REC,
    "unbindable": k.MS_UNBINDABLE,
    "runbindable": k.MS_UNBINDABLE | k.MS_REC,
}
_IGNORED = {
    "defaults", "async", "auto", "noauto", "user", "nouser", "users", "group", "owner", "_netdev",
    "copy-symlink",
}  # fmt: skip
_REFUSED = ("idmap", "ridmap", "src-nofollow", "dest-nofollow")
_RECURSIVE = tuple(f"r{name}" for name in (*_SET, *_CLEAR))
NAMES = (*_SET, *_CLEAR, *_RECURSIVE, *_PROPAGATION, "bind", "rbind", "tmpcopyup", "defaults")


class MountOptions(NamedTuple):
    """Options sorted by what they act on; ``data`` are the file system's own."""

    set: int = 0
    clear: int = 0
    recursive_set: int = 0
    recursive_clear: int = 0
    propagation: int = 0
    bind: bool = False
    recursive: bool = False
    copy_up: bool = False
    data: tuple[tuple[str, str], ...] = ()


def propagation(name: str) -> int:
    """The flags of a propagation word; Unsupported names the word."""
    if name not in _PROPAGATION:
        raise Unsupported(f"mount propagation {name!r} is not supported")
    return _PROPAGATION[name]


def parse(options: Iterable[str]) -> MountOptions:
    """Sort mount options; words that are none of the kernel's are the file system's."""
    parsed = MountOptions()
    for option in options:
        parsed = _add(parsed, option)
    return parsed


def _add(o: MountOptions, option: str) -> MountOptions:
    if option in _SET:
        flag = _SET[option]
        return o._replace(set=o.set | flag, clear=o.clear & ~flag)
    if option in _CLEAR:
        flag = _CLEAR[option]
        return o._replace(set=o.set & ~flag, clear=o.clear | flag)
    if option in _PROPAGATION:
        return o._replace(propagation=o.propagation | _PROPAGATION[option])
    if option in ("bind", "rbind"):
        return o._replace(bind=True, recursive=option == "rbind")
    if option == "tmpcopyup":
        return o._replace(copy_up=True)
    if option.startswith("r") and option[1:] in _SET:
        return o._replace(recursive_set=o.recursive_set | _SET[option[1:]])
    if option.startswith("r") and option[1:] in _CLEAR:
        return o._replace(recursive_clear=o.recursive_clear | _CLEAR[option[1:]])
    return _add_data(o, option)


def _add_data(o: MountOptions, option: str) -> MountOptions:
    if option in _IGNORED or not option:
        return o
    key, _, value = option.partition("=")
    if key in _REFUSED:
        raise Unsupported(f"mount option {option!r} is not supported")
    return o._replace(data=(*o.data, (key, value)))
