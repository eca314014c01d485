"""Kernel parameters of a container: only those that a namespace owns, written through a private procfs (rule
R18).
"""

from __future__ import annotations

import os

from onggi.errors import InvalidArgument, KernelError
from onggi.kernel.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWUTS,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    openat2,
)

_ANY = CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS
_NAMES = {CLONE_NEWIPC: "IPC", CLONE_NEWNET: "network", CLONE_NEWUTS: "UTS"}
_IPC = {"msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"}


def check(key: str, own: int = _ANY) -> str:
    """The path below /proc/sys of a parameter of one of the namespaces ``own`` (CLONE_NEW* flags).

    Anything else is refused by name.
    """
    name = key.replace(".", "/") if "/" not in key else key
    parts = name.split("/")
    if not all(part and part not in (".", "..") and part.isprintable() and "+" not in part for part in parts):
        raise InvalidArgument(f"sysctl {key!r} is not a valid name")
    namespace = _namespace(name, parts)
    if not namespace:
        raise InvalidArgument(f"sysctl {key!r} is not in a separate kernel namespace")
    if not namespace & own:
        raise InvalidArgument(f"sysctl {key!r} is not allowed in the hosts {_NAMES[namespace]} namespace")
    return name


def _namespace(name: str, parts: list[str]) -> int:
    if name.startswith("net/"):
        return CLONE_NEWNET
    if name.startswith("fs/mqueue/") or (parts[0] == "kernel" and len(parts) == 2 and parts[1] in _IPC):
        return CLONE_NEWIPC
    return CLONE_NEWUTS if name == "kernel/domainname" else 0


def write(proc_fd: int, key: str, value: str) -> None:
    """Write one parameter below ``proc_fd``, a procfs that nobody else could have mounted over.

    Raises InvalidArgument for what the kernel does not have or take: a client chose it.
    """
    name = check(key)
    try:
        fd = openat2(proc_fd, f"sys/{name}", os.O_WRONLY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    except KernelError as error:
        raise InvalidArgument(f"open /proc/sys/{name}: {os.strerror(error.errno).lower()}") from None
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise InvalidArgument(f"write /proc/sys/{name}: {os.strerror(error.errno or 0).lower()}") from None
    finally:
        os.close(fd)
