"""Carries a hijacked stream through the daemon where the client's socket itself cannot be given away.

TLS has its keys, WebSocket its framing in this process: the receiver gets one end of a socket pair.
"""

from __future__ import annotations

import asyncio
import socket
from typing import NamedTuple, Protocol, cast

from onggi.containers.options import Hijacked

PARTING_S = 1.0  # for output that is still to come when a client says that it leaves


class Decoded(NamedTuple):
    """Input of a client: bytes for the container, bytes to answer with, and whether it has ended."""

    payload: bytes
    reply: bytes = b""
    ended: bool = False


class Codec(Protocol):
    """How a stream lies on the client's connection; ``answers`` if output may follow upon its end."""

    answers: bool

    def decode(self, data: bytes) -> Decoded:
        """Take bytes from the client. Raises ValueError if they break the rules."""

    def encode(self, data: bytes) -> bytes:
        """Wrap bytes for the client."""

    def farewell(self) -> bytes:
        """What is sent last."""


class Plain:
    """The bytes as they are."""

    answers = True

    def decode(self, data: bytes) -> Decoded:
        """Return the same bytes."""
        return Decoded(data)

    def encode(self, data: bytes) -> bytes:
        """Return the same bytes."""
        return data

    def farewell(self) -> bytes:
        """Nothing: the end of the connection says it."""
        return b""


class Relay(asyncio.Protocol):
    """Two transports, one buffer's worth of memory each: whoever is slow stops the other side's reading."""

    def __init__(self, client: asyncio.Transport, codec: Codec) -> None:
        self._client, self._codec = client, codec
        self._pair: asyncio.Transport
        self._ended = False

    @classmethod
    async def open(cls, client: asyncio.Transport, codec: Codec) -> tuple[Relay, Hijacked]:
        """Start to relay; the second value is the far end."""
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        relay = cls(client, codec)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: relay, near)
        return relay, Hijacked(far.detach(), b"")

    # the container's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the pair's transport."""
        self._pair = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Output for the client."""
        self._client.write(self._codec.encode(data))

    def eof_received(self) -> bool:
        """The output has ended, and with it the stream."""
        self._client.write(self._codec.farewell())
        self._client.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The far end is closed."""
        self._client.close()

    def pause_writing(self) -> None:
        """The container does not read its input."""
        if not self._client.is_closing():
            self._client.pause_reading()

    def resume_writing(self) -> None:
        """The container reads again."""
        if not self._client.is_closing():
            self._client.resume_reading()

    # the client's side

    def from_client(self, data: bytes) -> None:
        """Input for the container."""
        if self._ended:
            return
        try:
            payload, reply, ended = self._codec.decode(data)
        except ValueError:
            self.client_lost()
            self._client.close()
            return
        if reply:
            self._client.write(reply)
        if payload:
            self._pair.write(payload)
        if ended:
            self.client_eof()
            asyncio.get_running_loop().call_later(PARTING_S if self._codec.answers else 0, self._part)

    def _part(self) -> None:
        """Answer who has left, though the output goes on."""
        if not self._client.is_closing():
            self.eof_received()
            self._pair.close()

    def client_eof(self) -> None:
        """No more input; the output goes on."""
        if not self._ended and not self._pair.is_closing():
            self._ended = True
            self._pair.write_eof()

    def client_lost(self) -> None:
        """Nobody reads the output any more."""
        self._pair.abort()

    def client_slow(self, slow: bool) -> None:
        """The client does not keep up, or does again."""
        if not self._pair.is_closing():
            (self._pair.pause_reading if slow else self._pair.resume_reading)()
