"""A client's end of a hijacked connection: attach, exec and the private run, raw or framed."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from onggi.kernel.sockets import connect_unix
from running_engine import DEADLINE_S, RunningEngine

_HEADER = struct.Struct(">BxxxI")
_open: list[Stream] = []


def close_all() -> None:
    """At the end of a test."""
    while _open:
        _open.pop().close()


class Stream:
    """What follows the 101. ``close`` may come twice."""

    def __init__(self, engine: RunningEngine, path: str, body: Any = None) -> None:
        payload = json.dumps(body).encode() if body is not None else b""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        self.sock = connect_unix(engine.socket, socket.SOCK_STREAM)
        self.sock.settimeout(DEADLINE_S)
        _open.append(self)
        self.sock.sendall(head.encode() + payload)
        self._rest = b""
        answer = self.until(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer + self._rest

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with ``mark``."""
        data = self._rest
        while mark not in data:
            data += self._receive()
        end = data.index(mark) + len(mark)
        self._rest = data[end:]
        return data[:end]

    def exactly(self, size: int) -> bytes:
        """So many bytes; fewer only at the end of the stream."""
        data = self._rest
        while len(data) < size and (more := self.sock.recv(65536)):
            data += more
        self._rest = data[size:]
        return data[:size]

    def frame(self) -> tuple[int, bytes] | None:
        """The next frame's type and content; None at the end."""
        header = self.exactly(_HEADER.size)
        if not header:
            return None
        kind, size = _HEADER.unpack(header)
        return kind, self.exactly(size)

    def output(self) -> bytes:
        """The content of all frames up to the end."""
        data = b""
        while frame := self.frame():
            data += frame[1]
        return data

    def rest(self) -> bytes:
        """Everything up to the end, of a raw stream."""
        return self.exactly(1 << 40)

    def send(self, data: bytes) -> None:
        """Type something."""
        self.sock.sendall(data)

    def half_close(self) -> None:
        """No more input."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Leave."""
        self.sock.close()

    def _receive(self) -> bytes:
        more = self.sock.recv(65536)
        assert more, "the stream ended early"
        return more
