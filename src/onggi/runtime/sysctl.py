"""Kernel parameters of a container: only those that a namespace owns, written through a private procfs (rule
R18).
"""

from __future__ import annotations

import os

from onggi.errors import InvalidArgument
from onggi.kernel.syscalls import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_IPC = {"msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"}


def check(key: str) -> str:
    """The path below /proc/sys of a parameter that belongs to a namespace; others are refused by name."""
    name = key.replace(".", "/") if "/" not in key else key
    parts = name.split("/")
    if not all(part and part not in (".", "..") and part.isprintable() and "+" not in part for part in parts):
        raise InvalidArgument(f"sysctl {key!r} is not a valid name")
    kernel = parts[0] == "kernel" and len(parts) == 2 and parts[1] in _IPC | {"domainname"}
    if not (kernel or name.startswith(("fs/mqueue/", "net/"))):
        raise InvalidArgument(f"sysctl {key!r} is not in a separate kernel namespace")
    return name


def write(proc_fd: int, key: str, value: str) -> None:
    """Write one parameter below ``proc_fd``, a procfs that nobody else could have mounted over."""
    fd = openat2(proc_fd, f"sys/{check(key)}", os.O_WRONLY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
