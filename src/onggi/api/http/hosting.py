"""One HTTP service: its listeners, its connections, the handlers that run, and an orderly end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from onggi.api.http.connection import Connection
from onggi.api.http.message import HeadError, Request, Response, Stream
from onggi.api.listen import Listener

MAX_CONNECTIONS = 4096
SWEEP_S = 5.0
CLOSE_TIMEOUT_S = 10.0
STREAM_TIMEOUT_S = 1.0  # for streams, which may have no end (events, logs that are followed)

Handle = Callable[[Request], Coroutine[Any, Any, Response | Stream | None]]


class Hosting:
    """What connections ask of their server: ``handle`` answers a request, ``refuse`` what is none."""

    def __init__(
        self,
        handle: Handle,
        refuse: Callable[[HeadError], Response],
        standing_headers: str,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.handle, self.refuse = handle, refuse
        self.standing_headers, self.max_connections = standing_headers, max_connections
        self.connections: set[Connection] = set()
        self._listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def busy(self) -> int:
        """How many connections have a request or a relayed stream, plus handlers whose client has left."""
        return max(len(self._tasks), sum(connection.serving for connection in self.connections))

    def connection(self) -> Connection:
        """A new connection, for a listener."""
        return Connection(self)

    def add(self, listener: Listener) -> None:
        """Own a listener."""
        self._listeners.append(listener)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Stop to accept, let running requests end for a while, then cut."""
        for listener in self._listeners:
            listener.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.close()
        await self._settle(min(timeout_s, STREAM_TIMEOUT_S))
        for connection in list(self.connections):
            connection.cut_stream()
        await self._settle(timeout_s)
        for connection in list(self.connections):
            connection.abort()
        for task in list(self._tasks):
            task.cancel()
        await self._settle(CLOSE_TIMEOUT_S)

    async def _settle(self, timeout_s: float) -> None:
        """Wait for handlers, but not longer."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def adopt(self, task: asyncio.Task[None]) -> None:
        """Keep a handler's task alive, and wait for it at the end."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for connection in list(self.connections):
                connection.expire(now)
