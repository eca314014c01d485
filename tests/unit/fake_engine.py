"""A tiny engine on a unix socket for tests of the front: records requests, answers from a table of routes.

A route's answer is ``(status, object | bytes)`` or a function of the open connection for streams.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

Answer = tuple[int, Any]
Handler = Callable[[socket.socket, "Request"], None]


class Request:
    """One recorded request; ``path`` without the version prefix."""

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        parts = urlsplit(target)
        path = unquote(parts.path)
        first, _, rest = path.removeprefix("/").partition("/")
        versioned = first.startswith("v1.") and rest != ""
        self.method, self.path, self.query = method, "/" + rest if versioned else path, parts.query
        self.headers, self.body = headers, body

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


class FakeEngine:
    """Serves until closed; ``routes`` maps ``"METHOD /path"`` to answers; a last ``*`` matches the rest."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "fake.sock"
        self.routes: dict[str, Answer | Handler] = {
            "HEAD /_ping": (200, b""),
            "GET /_ping": (200, b"OK"),
        }
        self.requests: list[Request] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """The address for DOCKER_HOST."""
        return f"unix://{self.path}"

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)

    def sent(self, route: str) -> list[Request]:
        """Return the recorded requests of ``"METHOD /path"``."""
        return [request for request in self.requests if f"{request.method} {request.path}" == route]

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(connection,), daemon=True).start()

    def _connection(self, connection: socket.socket) -> None:
        # A client that ends before it has read all resets the connection.
        with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as stream:
            while request := read_request(stream):
                self.requests.append(request)
                answer = self._answer(f"{request.method} {request.path}")
                if callable(answer):
                    answer(connection, request)
                    return
                connection.sendall(render(request.method, *answer))

    def _answer(self, key: str) -> Answer | Handler:
        if key in self.routes:
            return self.routes[key]
        for pattern, answer in self.routes.items():
            if pattern.endswith("*") and key.startswith(pattern[:-1]):
                return answer
        return 404, {"message": "page not found"}


def read_request(stream: Any) -> Request | None:
    """Read one request, or None at the end."""
    line = stream.readline().decode().split()
    if len(line) < 2:
        return None
    headers = {}
    while field := stream.readline().decode().strip():
        name, _, value = field.partition(":")
        headers[name.lower()] = value.strip()
    return Request(line[0], line[1], headers, _read_body(stream, headers))


def _read_body(stream: Any, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return bytes(stream.read(int(headers.get("content-length", "0"))))
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


def render(method: str, status: int, value: Any) -> bytes:
    """Write an answer with its length; bytes as they are, objects as JSON."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    if status in (204, 304) or method == "HEAD":
        body = b""
    head = f"HTTP/1.1 {status} X\r\nApi-Version: 1.50\r\nOstype: linux\r\nServer: Docker/28.2.2 (linux)\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def upgrade(connection: socket.socket) -> None:
    """Answer 101: the rest of the connection is a raw stream."""
    connection.sendall(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")


def frame(kind: int, payload: bytes) -> bytes:
    """Return one frame of a multiplexed stream."""
    return bytes([kind, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload
