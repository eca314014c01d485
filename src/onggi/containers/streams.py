"""Client streams that leave the HTTP connection."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import termios
from typing import Any

import msgspec

from onggi.frames import frame

Json = Any
_HEAD_CHECKS, _HEAD_CHECK_S = 40, 0.0005
_PATIENCE_S = 30.0


def status_frame(kind: int, status: Json) -> bytes:
    return frame(kind, msgspec.json.encode(status))


async def until_head_is_read(fd: int) -> None:
    """Give a client a moment to read the answer's head from a hijacked connection before bytes follow it.

    docker-py reads heads through a buffer and loses what arrived together with one. Bounded: who does not
    read is not waited for. TIOCOUTQ: what the peer has not taken yet (tty_ioctl(4), unix(7)).
    """
    for _ in range(_HEAD_CHECKS):
        try:
            waiting = fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4))
        except OSError:
            return
        if not any(waiting):
            return
        await asyncio.sleep(_HEAD_CHECK_S)


async def send_all(fd: int, data: bytes) -> None:
    """Write to a client; whoever has gone or does not read for long misses it.

    The descriptor stays open.
    """
    try:
        sent = os.write(fd, data)
    except BlockingIOError:
        sent = 0
    except OSError:
        return
    if sent < len(data):
        await _send_slowly(fd, data[sent:])


async def _send_slowly(fd: int, data: bytes) -> None:
    with socket.socket(fileno=os.dup(fd)) as client:
        client.setblocking(False)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.get_running_loop().sock_sendall(client, data)
        except (TimeoutError, OSError):
            return  # nobody is there to be told


async def readable(fd: int) -> None:
    """Wait until there is something to read, or an end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def wake(ready: asyncio.Future[None]) -> None:
    """Resolve a future that may be resolved already."""
    if not ready.done():
        ready.set_result(None)
