"""Connections to published ports that the packet filter does not translate, carried to the container.

These are IPv6 connections to a container that has no IPv6, and those that come while the filter is flushed.
The bulk of traffic never comes here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable

from onggi.networks.ports import Taken

_PIECE = 1 << 16
_CONNECT_S = 10.0


class Relays:
    """One reader for each published port; nothing but a socket and an entry until somebody connects."""

    def __init__(self) -> None:
        self._targets: dict[int, tuple[socket.socket, str, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, taken: Iterable[Taken], target: str) -> None:
        """Relay what comes to these ports to ``target``; again with another one."""
        loop = asyncio.get_running_loop()
        for entry in taken:
            sock = entry.socket
            if sock is None or entry.port.protocol != "tcp":
                continue
            known = sock.fileno() in self._targets
            self._targets[sock.fileno()] = (sock, target, entry.port.container_port)
            if not known:
                loop.add_reader(sock.fileno(), self._accept, sock.fileno())

    def forget(self, taken: Iterable[Taken]) -> None:
        """Before the sockets are closed. Idempotent."""
        for entry in taken:
            if entry.socket is not None and entry.socket.fileno() in self._targets:
                del self._targets[entry.socket.fileno()]
                asyncio.get_running_loop().remove_reader(entry.socket.fileno())

    def _accept(self, number: int) -> None:
        sock, target, port = self._targets[number]
        try:
            client, _ = sock.accept()
        except OSError:
            return  # it went away before we came
        client.setblocking(False)
        task = asyncio.get_running_loop().create_task(_carry(client, target, port))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Connections that are relayed end with the engine."""
        for sock, _, _ in self._targets.values():
            asyncio.get_running_loop().remove_reader(sock.fileno())
        self._targets.clear()
        for task in self._tasks:
            task.cancel()


async def _carry(client: socket.socket, target: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    other = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    with client, other, contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CONNECT_S):
            await loop.sock_connect(other, (target, port))
        await asyncio.gather(_pump(client, other), _pump(other, client))


async def _pump(source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(source, _PIECE):
            await loop.sock_sendall(sink, data)
    finally:
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
