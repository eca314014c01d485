"""Ssh agents of clients, for RUN --mount=type=ssh: our command keeps connections waiting, and each process in
a step that asks the agent gets one of them. No key comes here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from onggi.containers.options import Hijack
from onggi.errors import Conflict, NotFound
from onggi.kernel import files

USUAL = "default"  # the agent that is meant where none is named
_MOST = 8  # connections that wait
_DEADLINE_S = 60
_PIECE = 1 << 16


class Agents:
    """Connections to the agents of clients, by the token of their build."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Queue[socket.socket]] = {}

    @contextmanager
    def open(self, token: str) -> Iterator[None]:
        """Take connections for a build, and close those at its end that nobody has used. Raises Conflict."""
        if token in self._waiting:
            raise Conflict("another build has the same token for its ssh agent")
        queue = self._waiting[token] = asyncio.Queue[socket.socket]()
        try:
            yield
        finally:
            del self._waiting[token]
            while not queue.empty():
                queue.get_nowait().close()

    async def wait(self, token: str, hijack: Hijack) -> None:
        """Let a client's connection wait until a step needs it. Raises NotFound, Conflict."""
        queue = self._waiting.get(token)
        if queue is None:
            raise NotFound("no build with this token is in progress")
        if queue.qsize() >= _MOST:
            raise Conflict("enough connections wait for this build")
        sock = socket.socket(fileno=(await hijack()).fd)
        if self._waiting.get(token) is queue:
            queue.put_nowait(sock)
        else:
            sock.close()

    @asynccontextmanager
    async def served(self, token: str, name: str, directory: str) -> AsyncIterator[str]:
        """The path of a socket in a directory of ours, behind which is the client's agent ``name``."""
        # By descriptor, as the path may be longer than an address can be.
        with files.directory(directory) as directory_fd:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(f"/proc/self/fd/{directory_fd}/agent")
        tasks = set[asyncio.Task[None]]()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._join(token, name, reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_unix_server(accept, sock=listening)
        try:
            yield f"{directory}/agent"
        finally:
            server.close()
            for task in [*tasks]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _join(
        self, token: str, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        queue = self._waiting.get(token)
        try:
            if queue is None:
                return
            async with asyncio.timeout(_DEADLINE_S):
                sock = await queue.get()
            theirs, ours = await asyncio.open_connection(sock=sock)
            try:
                ours.write(f"{name}\n".encode())
                await _first_of(_copy(reader, ours), _copy(theirs, writer))
            finally:
                ours.close()
        except (OSError, TimeoutError):
            return  # the step sees a closed agent
        finally:
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """An agent's talk is over when one side has closed."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
