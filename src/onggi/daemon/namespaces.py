"""Whether this process lives in the namespaces of process 1, told without any right to look into process 1.

``/proc/1/ns`` answers at once but needs ptrace access (seen denied: a process 1 with more capabilities than
root's shell). Then each kind is told by a trace that only members of the namespace can leave or see.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from onggi.errors import Conflict


def check() -> None:
    """Raise Conflict if this process does not live where process 1 does."""
    foreign = [kind for kind, told in _TRACES.items() if not _same(kind, told)]
    if foreign:
        raise Conflict(
            f"this command runs in another {' and '.join(foreign)} namespace than process 1, and an engine "
            "started here would show that view to everybody; start it outside, or ask for it with --here "
            "(or ONGGI_HERE=1)"
        )


def _same(kind: str, told: Callable[[], bool]) -> bool:
    try:
        return os.readlink(f"/proc/self/ns/{kind}") == os.readlink(f"/proc/1/ns/{kind}")
    except PermissionError:
        return told()


def _same_mounts() -> bool:
    """Mount ids are unique on a machine: a copied namespace has copies of mounts, with other ids."""
    with open("/proc/self/mountinfo", "rb") as own, open("/proc/1/mountinfo", "rb") as theirs:
        return {line.split()[0] for line in own} & {line.split()[0] for line in theirs} != set()


def _same_network() -> bool:
    """A unix socket of ours is listed in the network namespace that it belongs to, and in no other."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, open("/proc/1/net/unix", "rb") as listed:
        inode = b" %d" % os.fstat(sock.fileno()).st_ino
        return any(line.rstrip().endswith(inode) for line in listed)


def _same_processes() -> bool:
    """procfs shows the numbers of the namespace it was mounted for: ours must be among them."""
    return os.readlink("/proc/self") == str(os.getpid())


def _same_users() -> bool:
    with open("/proc/self/uid_map", "rb") as own, open("/proc/1/uid_map", "rb") as theirs:
        return own.read() == theirs.read()


_TRACES: dict[str, Callable[[], bool]] = {
    "mnt": _same_mounts,
    "net": _same_network,
    "pid": _same_processes,
    "user": _same_users,
}
