"""Unix sockets at paths of any length, and descriptors that travel over them.

A path longer than ``sun_path`` (108 bytes) is reached as ``/proc/self/fd/<directory>/<name>``, so the
length of an engine's directory never matters.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

BACKLOG = 4096  # connections that may wait; the kernel takes its own limit (somaxconn) if that is less
_CREDENTIALS = struct.Struct("3i")
_INT_SIZE = array.array("i").itemsize


@contextmanager
def _short(path: str) -> Iterator[str]:
    directory, name = os.path.split(path)
    fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


def bind_unix(path: str, kind: int, mode: int = 0o600) -> socket.socket:
    """A listening socket at ``path`` (a stale one is replaced), created with ``mode`` whatever the umask."""
    sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    with _short(path) as name:
        try:
            os.unlink(name)
        except FileNotFoundError:
            pass
        # On Linux the mode of a socket inode that does not listen yet can be set before anybody connects.
        os.fchmod(sock.fileno(), mode)
        sock.bind(name)
        os.chmod(name, mode)
    sock.listen(BACKLOG)
    return sock


def bind_unix_once(path: str, kind: int) -> socket.socket:
    """A listening socket at ``path``, seen by nobody before it listens; FileExistsError if there is one."""
    sock = bind_unix(f"{path}.new", kind)
    try:
        with _short(path) as name:
            try:
                os.link(f"{name}.new", name)
            finally:
                os.unlink(f"{name}.new")
    except OSError:
        sock.close()
        raise
    return sock


def connect_unix(path: str, kind: int) -> socket.socket:
    """A connected socket; raises OSError (FileNotFoundError, ConnectionRefusedError) if nobody serves
    ``path``.
    """
    sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        with _short(path) as name:
            sock.connect(name)
    except OSError:
        sock.close()
        raise
    return sock


def send_message(sock: socket.socket, payload: bytes, fds: Sequence[int] = ()) -> None:
    """Send one message with descriptors (SCM_RIGHTS); the caller still owns ``fds``."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([payload], ancillary, socket.MSG_NOSIGNAL)


def receive_message(sock: socket.socket, size: int, max_fds: int = 8) -> tuple[bytes, list[int]]:
    """Receive one message and its descriptors (close-on-exec, owned by the caller); empty bytes mean EOF."""
    payload, ancillary, _, _ = sock.recvmsg(
        size, socket.CMSG_SPACE(max_fds * _INT_SIZE), socket.MSG_CMSG_CLOEXEC
    )
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % _INT_SIZE])
    return payload, list(fds)


def peer_credentials(sock: socket.socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of the process that connected, SO_PEERCRED."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return pid, uid, gid
