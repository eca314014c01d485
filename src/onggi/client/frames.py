"""Decoders of a hijacked stream: raw bytes, docker's frames, and our two status frames among them."""

from __future__ import annotations

from onggi.client.errors import ClientError
from onggi.frames import EARLY_STATUS, FINAL_STATUS, HEADER, STDOUT, SYSTEM_ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_WHOLE = (SYSTEM_ERROR, FINAL_STATUS, EARLY_STATUS)
_WHOLE_LIMIT = 1 << 24


class RawDecoder:
    """A terminal's stream: every byte is output."""

    def feed(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Yield (stream type, payload)."""
        if data:
            yield STDOUT, data


class FrameDecoder:
    """Splits a framed stream; payloads of types 1 and 2 come as they arrive, the others whole."""

    def __init__(self) -> None:
        self._head = b""
        self._kind = self._left = 0
        self._held = b""

    def feed(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Yield (stream type, payload) for all that ``data`` completes. Raises ClientError."""
        while data:
            if not self._left:
                data = self._header(data)
                if not self._left:
                    continue
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            if self._kind not in _WHOLE:
                yield self._kind or STDOUT, piece
                continue
            self._held += bytes(piece)
            if not self._left:
                whole, self._held = self._held, b""
                yield self._kind, memoryview(whole)

    def _header(self, data: memoryview) -> memoryview:
        take = HEADER - len(self._head)
        self._head += bytes(data[:take])
        if len(self._head) == HEADER:
            self._kind, self._left = self._head[0], int.from_bytes(self._head[4:], "big")
            if self._kind > EARLY_STATUS or (self._kind in _WHOLE and self._left > _WHOLE_LIMIT):
                raise ClientError(f"Unrecognized input header: {self._kind}")
            self._head = b""
        return data[take:]


def demultiplex(pieces: Iterator[bytes], framed: bool) -> Iterator[tuple[int, memoryview]]:
    """Decode a streamed body (logs) piece by piece. Raises ClientError for an error frame of the engine."""
    decoder = FrameDecoder() if framed else RawDecoder()
    for data in pieces:
        for kind, payload in decoder.feed(memoryview(data)):
            if kind == SYSTEM_ERROR:
                raise ClientError(f"error from daemon in stream: {bytes(payload).decode('utf-8', 'replace')}")
            yield kind, payload
