"""The resolvers: one pair of sockets in each container's namespace, all served by the engine's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from typing import Any, NamedTuple

from onggi.networks.core import Core
from onggi.networks.dns import message, names
from onggi.networks.dns.message import Query
from onggi.networks.dns.upstream import Upstream
from onggi.networks.model import Sandbox

_MOST_AT_ONCE = 256  # questions of one container that wait for others' answers
_IDLE_S = 30.0
_PIECE = 65535


class Sockets(NamedTuple):
    """Where a container's questions arrive."""

    datagrams: socket.socket
    stream: socket.socket


class Resolvers:
    """Every container's resolver."""

    def __init__(self, core: Core) -> None:
        self._core, self._upstream = core, Upstream()
        self._open: dict[str, _Resolver] = {}

    def serve(self, sandbox: Sandbox, sockets: Sockets) -> None:
        """Answer a container from now on; the sockets are ours."""
        self.end(sandbox.container)
        self._open[sandbox.container] = _Resolver(self._core, self._upstream, sandbox, sockets)

    def end(self, container_id: str) -> None:
        """The container ended. Idempotent."""
        resolver = self._open.pop(container_id, None)
        if resolver is not None:
            resolver.close()

    def close(self) -> None:
        for container_id in list(self._open):
            self.end(container_id)


class _Resolver:
    def __init__(self, core: Core, upstream: Upstream, sandbox: Sandbox, sockets: Sockets) -> None:
        self._core, self._upstream, self._sandbox, self._sockets = core, upstream, sandbox, sockets
        self._tasks: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        loop.add_reader(sockets.datagrams.fileno(), self._read)
        loop.add_reader(sockets.stream.fileno(), self._accept)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock.fileno())
            sock.close()
        for task in self._tasks:
            task.cancel()

    def _read(self) -> None:
        """One question; the loop comes again for the next, and others in between."""
        try:
            data, peer = self._sockets.datagrams.recvfrom(_PIECE)
        except OSError:
            return
        query = message.parse(data)
        own = self._own(query, limit=query.udp_size) if query else None
        if own is not None:
            self._send(own, peer)
        elif query is not None and len(self._tasks) >= _MOST_AT_ONCE:
            self._send(message.answer(query, [], message.SERVER_FAILURE), peer)
        elif query is not None:
            self._spawn(self._forward(query, data, peer))

    def _own(self, query: Query, limit: int) -> bytes | None:
        """Our answer; None for what others know."""
        records = names.look_up(self._core, self._sandbox, query.name, query.type)
        if records is not None:
            return message.answer(query, records, limit=limit)
        if not names.leads_out(self._core, self._sandbox):
            return message.answer(query, [], message.NO_NAME)
        return None

    async def _forward(self, query: Query, data: bytes, peer: tuple[str, int]) -> None:
        self._send(await self._asked(query, data, stream=False), peer)

    async def _asked(self, query: Query, data: bytes, *, stream: bool) -> bytes:
        servers = self._sandbox.dns or self._upstream.servers()
        found = await self._upstream.ask(data, servers, stream=stream)
        return found if found is not None else message.answer(query, [], message.SERVER_FAILURE)

    def _send(self, data: bytes, peer: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            self._sockets.datagrams.sendto(data, peer)

    def _accept(self) -> None:
        try:
            client, _ = self._sockets.stream.accept()
        except OSError:
            return
        client.setblocking(False)
        if len(self._tasks) >= _MOST_AT_ONCE:
            client.close()
            return
        self._spawn(self._talk(client))

    async def _talk(self, client: socket.socket) -> None:
        """Questions over one connection, one after the other."""
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(sock=client)
            try:
                while data := await _next_query(reader):
                    query = message.parse(data)
                    if query is None:
                        return
                    found = self._own(query, 65535) or await self._asked(query, data, stream=True)
                    writer.write(len(found).to_bytes(2, "big") + found)
                    await writer.drain()
            finally:
                writer.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _next_query(reader: asyncio.StreamReader) -> bytes:
    """A question behind its length; empty at an end."""
    async with asyncio.timeout(_IDLE_S):
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
