"""Tells whoever started the engine that it serves: systemd by sd_notify(3), a command by a descriptor."""

from __future__ import annotations

import os
import socket


def supervisor(state: str) -> None:
    """Send ``READY=1``, ``STOPPING=1`` ... to ``$NOTIFY_SOCKET``; nobody listens outside systemd."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return  # the supervisor went away; serving goes on


def starter(ready_fd: int) -> None:
    """Write the one byte that ``--ready-fd`` asks for, and close it."""
    if ready_fd < 0:
        return
    try:
        os.write(ready_fd, b"1")
    except OSError:
        pass  # the starter went away: it is served all the same when it comes back
    os.close(ready_fd)
