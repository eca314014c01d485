"""The API server: connections, routing, one place for errors, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import time

from onggi.api.engine import Engine
from onggi.api.errors import answer_error
from onggi.api.http.connection import Connection
from onggi.api.http.message import HeadError, Request, Response, Stream
from onggi.api.listen import Listener, TlsFiles, listen_tcp, listen_unix
from onggi.api.router import Router
from onggi.api.routes import all_routes
from onggi.version import API, VERSION

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 4096
SWEEP_S = 5.0
CLOSE_TIMEOUT_S = 10.0


class Server:
    """Serves one engine on any number of sockets; everything runs on one event loop."""

    def __init__(
        self, engine: Engine, *, version: str = VERSION, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        self.engine = engine
        self.max_connections = max_connections
        self.connections: set[Connection] = set()
        self.standing_headers = (
            f"Api-Version: {API}\r\nDocker-Experimental: false\r\nOstype: linux\r\n"
            f"Server: Onggi/{version} (linux)\r\n"
        )
        self.last_activity = time.monotonic()
        self._router = Router(all_routes())
        self._listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def busy(self) -> int:
        """How many connections have a request or a relayed stream, plus handlers whose client has left."""
        return max(len(self._tasks), sum(connection.serving for connection in self.connections))

    async def serve_unix(self, path: str, mode: int = 0o600, gid: int = -1) -> None:
        """Listen at ``path``; its directory is made 0700 if missing. Raises OSError or KernelError."""
        self._add(await listen_unix(lambda: Connection(self), path, mode, gid))

    async def serve_tcp(self, host: str, port: int, tls: TlsFiles | None = None) -> int:
        """Listen on tcp; plain only on loopback. Returns the port. Raises InvalidArgument or OSError."""
        listener = await listen_tcp(lambda: Connection(self), host, port, tls)
        self._add(listener)
        return listener.port

    def _add(self, listener: Listener) -> None:
        self._listeners.append(listener)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self) -> None:
        """Stop to accept, let running requests end for a while, then cut."""
        for listener in self._listeners:
            listener.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)
        for connection in list(self.connections):
            connection.abort()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)

    # what connections ask (http.connection.Site)

    async def handle(self, request: Request) -> Response | Stream | None:
        """Answer one request."""
        self.last_activity = time.monotonic()
        try:
            route = self._router.find(request)
            return await route.handler(self.engine, request)
        except ConnectionError:
            raise
        except Exception as error:
            return answer_error(error, f"{request.method} {request.path}")

    def refuse(self, error: HeadError) -> Response:
        """Answer what is no request."""
        return answer_error(error, "request head")

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
