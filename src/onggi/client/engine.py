"""A typed door to one engine: requests that raise, answers that are decoded, upgrades to raw streams."""

from __future__ import annotations

import os

from onggi.client import http
from onggi.client.codec import decode, encode
from onggi.client.endpoint import Endpoint
from onggi.client.errors import ClientError, Disconnected, EngineError, Unreachable, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Iterable, Iterator, Mapping

    from onggi.client.codec import Json

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")
CONNECT_RETRIES = 500
RETRY_S = 0.02


def quote(text: str, safe: bytes = b"") -> str:
    """Percent-encode ``text`` for a path or a query (RFC 3986 §2.1)."""
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in _SAFE or byte in safe else f"%{byte:02X}" for byte in data)


def query_text(query: Mapping[str, Json]) -> str:
    """Write a query: None is left out, booleans are 1 and 0, lists repeat the name, objects are JSON."""
    parts: list[str] = []
    for name, value in query.items():
        items = value if isinstance(value, list) else [value]
        parts += [f"{quote(name)}={quote(_query_value(item))}" for item in items if item is not None]
    return "&".join(parts)


def _query_value(value: Json) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return encode(value).decode() if isinstance(value, dict) else str(value)


class Engine:
    """Requests to the engine at ``endpoint``; an own engine that does not run is started.

    ``env`` is the caller's environment, of which the data and exec root are given on to a new engine.
    """

    def __init__(self, endpoint: Endpoint, env: Mapping[str, str]) -> None:
        self.endpoint, self._env = endpoint, env

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Json] | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.Response:
        """Send one request and return the answer with its body unread.

        ``body``: None, an object (sent as JSON) or an iterator of bytes (sent chunked). Raises EngineError
        for a status of 400 and more, ClientError otherwise.
        """
        target = path + ("?" + query_text(query) if query else "")
        fields = {"Host": "onggi", "User-Agent": "onggi", **(headers or {})}
        payload: bytes | Iterable[bytes] | None = body
        if isinstance(body, (dict, list)):
            payload = encode(body)
            fields["Content-Type"] = "application/json"
        sock = self.connect()
        try:
            response = http.exchange(sock, method, target, fields, payload)
        except (OSError, Disconnected) as error:
            sock.close()
            raise self._broken(error) from None
        except BaseException:
            sock.close()
            raise
        if response.status >= 400:
            raise EngineError(response.status, _message(response))
        return response

    def get(self, path: str, query: Mapping[str, Json] | None = None) -> Json:
        """GET an object."""
        return decode(self.request("GET", path, query).read())

    def post(self, path: str, query: Mapping[str, Json] | None = None, body: Json = None) -> Json:
        """POST an object; returns the decoded answer, None if there is none."""
        data = self.request("POST", path, query, body).read()
        return decode(data) if data.strip() else None

    def delete(self, path: str, query: Mapping[str, Json] | None = None) -> Json:
        """DELETE; returns the decoded answer, None if there is none."""
        data = self.request("DELETE", path, query).read()
        return decode(data) if data.strip() else None

    def upgrade(self, path: str, query: Mapping[str, Json] | None = None, body: Json = None) -> http.Response:
        """POST and ask for the raw stream; the status is 101, or 200 where upgrades are ignored."""
        return self.request("POST", path, query, body, {"Connection": "Upgrade", "Upgrade": "tcp"})

    def messages(self, response: http.Response) -> Iterator[Json]:
        """Yield the JSON documents of a streamed answer as they arrive, one line each."""
        rest = b""
        for piece in response.chunks():
            *lines, rest = (rest + piece).split(b"\n")
            yield from (decode(line) for line in lines if line.strip())
        if rest.strip():
            yield decode(rest)

    def connect(self) -> Socket:
        """A connection that nothing was sent on. Raises ClientError."""
        if self.endpoint.kind == "tcp":
            return self._connect_tcp()
        if self.endpoint.kind == "ssh":
            from onggi.client.ssh import connect

            return connect(self.endpoint, self._env)
        try:
            return http.connect_unix(self.endpoint.address)
        except PermissionError:
            raise Unreachable(self._denied()) from None
        except OSError as error:
            if not self.endpoint.own:
                raise Unreachable(self._absent()) from None
            return self._start_and_connect(error)

    def _broken(self, error: OSError | Disconnected) -> ClientError:
        """What is said of an exchange that broke off before its answer."""
        if self.endpoint.kind == "ssh":
            return ClientError(
                f"error during connect: ssh to {self.endpoint.host} has ended: make sure that it works, and "
                "that onggi or docker is installed there"
            )
        if isinstance(error, Disconnected):
            return error
        return ClientError(f"error during connect: {reason(error)}")

    def _start_and_connect(self, failure: OSError) -> Socket:
        from time import sleep

        from onggi.client.spawn import start_engine

        start_engine(self._env, os.path.dirname(self.endpoint.address))
        for _ in range(CONNECT_RETRIES):
            try:
                return http.connect_unix(self.endpoint.address)
            except OSError as error:
                failure = error
            sleep(RETRY_S)  # another starter won and is not listening yet
        raise Unreachable(f"the engine started but {self.endpoint.host} does not answer: {reason(failure)}")

    def _connect_tcp(self) -> Socket:
        try:
            sock = http.connect_tcp(self.endpoint.address, self.endpoint.port)
        except OSError:
            raise Unreachable(self._absent()) from None
        if self.endpoint.tls is None:
            return sock
        from onggi.client.tls import wrap

        return wrap(sock, self.endpoint.address, self.endpoint.tls)

    def _absent(self) -> str:
        return f"Cannot connect to the Docker daemon at {self.endpoint.host}. Is the docker daemon running?"

    def _denied(self) -> str:
        return (
            f"permission denied while trying to connect to the engine at {self.endpoint.host}; run with sudo"
        )


def _message(response: http.Response) -> str:
    data = response.read()
    try:
        answer = decode(data)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("message"):
        return str(answer["message"]).strip()
    return data.decode("utf-8", "replace").strip() or f"status {response.status}"
