"""The API server: docker's routes on any number of sockets, and one place for errors."""

from __future__ import annotations

import time

from onggi.api.engine import Engine
from onggi.api.errors import answer_error
from onggi.api.http.connection import Connection
from onggi.api.http.hosting import Hosting
from onggi.api.http.message import HeadError, Request, Response, Stream
from onggi.api.listen import TlsFiles, listen_tcp, listen_unix
from onggi.api.metrics import Timings
from onggi.api.router import Router
from onggi.api.routes import all_routes
from onggi.version import API, VERSION


class Server:
    """Serves one engine; everything runs on one event loop."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        headers = (
            f"Api-Version: {API}\r\nDocker-Experimental: false\r\nOstype: linux\r\n"
            f"Server: Onggi/{VERSION} (linux)\r\n"
        )
        self.last_activity = time.monotonic()
        self.timings = Timings()
        self._router = Router(all_routes())
        self._hosting = Hosting(self._handle, _refuse, headers)

    @property
    def busy(self) -> int:
        """How many connections have a request or a relayed stream, plus handlers whose client has left."""
        return self._hosting.busy

    @property
    def connections(self) -> set[Connection]:
        """Those that are open."""
        return self._hosting.connections

    async def serve_unix(self, path: str, mode: int = 0o600, gid: int = -1) -> None:
        """Listen at ``path``; its directory is made 0700 if missing. Raises OSError or KernelError."""
        self._hosting.add(await listen_unix(self._hosting.connection, path, mode, gid))

    async def serve_tcp(self, host: str, port: int, tls: TlsFiles | None = None) -> int:
        """Listen on tcp; plain only on loopback. Returns the port. Raises InvalidArgument or OSError."""
        listener = await listen_tcp(self._hosting.connection, host, port, tls)
        self._hosting.add(listener)
        return listener.port

    async def close(self) -> None:
        """Stop to accept, let running requests end for a while, then cut."""
        await self._hosting.close()

    async def _handle(self, request: Request) -> Response | Stream | None:
        self.last_activity = time.monotonic()
        if request.method == "OPTIONS":  # of any path, as dockerd
            return Response(200)
        try:
            route = self._router.find(request)
            began = time.monotonic()
            answer = await route.handler(self.engine, request)
            self.timings.add(route.method, route.pattern, time.monotonic() - began)
            return answer
        except ConnectionError:
            raise
        except Exception as error:
            return answer_error(error, f"{request.method} {request.path}")


def _refuse(error: HeadError) -> Response:
    return answer_error(error, "request head")
