"""Embedded registries of a real engine, for tests: served while a ``with`` lasts."""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

from engines import DEADLINE_S, RealEngine


class Serving:
    """A registry that is being served; ``line`` waits for the next line of its access log."""

    def __init__(self, stream: http.client.HTTPResponse) -> None:
        self._stream = stream
        self.address = json.loads(stream.readline())["Address"]

    def line(self) -> str:
        return json.loads(self._stream.readline())["Line"]

    def call(
        self, method: str, path: str, body: bytes = b"", tls: ssl.SSLContext | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of one request; header names are spelled with underscores."""
        host, _, port = self.address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=DEADLINE_S)
        if tls:
            connection = http.client.HTTPSConnection(host, int(port), timeout=DEADLINE_S, context=tls)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, named)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Refused(Exception):
    """The engine does not serve it: status and message."""


@contextlib.contextmanager
def serving(engine: RealEngine, **options: object) -> Iterator[Serving]:
    """Serve on a free port of loopback, unless ``Address`` says otherwise."""
    connection = _Unix(engine.socket)
    with contextlib.closing(connection):
        body = json.dumps({"Address": "127.0.0.1:0", **options})
        connection.request("POST", "/onggi/v1/registry/serve", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise Refused(answer.status, json.loads(answer.read())["message"])
        yield Serving(answer)
