"""Request bodies: sans-IO decoders (length, chunked) and the bounded queue before a handler.

h11 is not used here: on a chunked upload it spends six times the CPU.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable

from onggi.errors import InvalidArgument

HIGH_WATER = 1 << 20  # bytes queued before the connection stops reading
LOW_WATER = 1 << 18
LINE_LIMIT = 4096  # a chunk-size line with its extensions
TRAILER_LIMIT = 16384
READ_TIMEOUT_S = 60.0

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r")


class BodyError(InvalidArgument):
    """The body breaks the rules of its framing, or ended early."""


class LengthDecoder:
    """A body of Content-Length bytes."""

    def __init__(self, size: int) -> None:
        self.size = self._left = size
        self.done = size == 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return pieces of the body and what lies behind its end."""
        if len(data) < self._left:
            self._left -= len(data)
            return [data], b""
        piece, rest = data[: self._left], data[self._left :]
        self._left, self.done = 0, True
        return [piece] if piece else [], rest


class ChunkedDecoder:
    """A body in chunked transfer coding, RFC 9112 section 7.1. Trailers are checked and dropped."""

    size = 0  # what the head says, which is nothing

    def __init__(self) -> None:
        self._held = b""  # an unfinished line
        self._left = 0  # bytes of the current chunk still to come
        self._step: Callable[[bytes], None] = self._size_line
        self._trailers = 0
        self.done = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return pieces of the body and what lies behind its end. Raises BodyError."""
        data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        offset = 0
        while offset < len(data) and not self.done:
            if self._left:
                piece = data[offset : offset + self._left]
                pieces.append(piece)
                offset += len(piece)
                self._left -= len(piece)
                continue
            end = data.find(b"\n", offset)
            if end < 0:
                self._hold(data[offset:])
                return pieces, b""
            self._step(data[offset:end])
            offset = end + 1
        return pieces, data[offset:]

    def _hold(self, line: bytes) -> None:
        if len(line) > LINE_LIMIT:
            raise BodyError("chunk header is too long")
        self._held = line

    def _size_line(self, line: bytes) -> None:
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None or len(line) > LINE_LIMIT:
            raise BodyError("malformed chunked encoding")
        self._left = int(match[1], 16)
        self._step = self._after_chunk if self._left else self._trailer_line

    def _after_chunk(self, line: bytes) -> None:
        if line != b"\r":
            raise BodyError("malformed chunked encoding")
        self._step = self._size_line

    def _trailer_line(self, line: bytes) -> None:
        if line == b"\r":
            self.done = True
            return
        self._trailers += len(line)
        if self._trailers > TRAILER_LIMIT or _TRAILER.fullmatch(line) is None:
            raise BodyError("malformed trailer")


class Body:
    """The body of one request, as it arrives.

    ``flow(True)`` asks the connection to read on, ``flow(False)`` to pause; ``expected`` is called before
    the first read (it answers 100-continue).
    """

    def __init__(
        self,
        decoder: LengthDecoder | ChunkedDecoder,
        flow: Callable[[bool], None],
        expected: Callable[[], None] | None = None,
    ) -> None:
        self._decoder, self._flow, self._expected = decoder, flow, expected
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: BodyError | None = None

    @property
    def complete(self) -> bool:
        """Every byte has arrived; nothing of the body is left on the connection."""
        return self._decoder.done

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the connection; return those behind the end of the body."""
        try:
            pieces, rest = self._decoder.feed(data)
        except BodyError as error:
            self.fail(error)
            return b""
        self._pieces.extend(pieces)
        self._size += sum(map(len, pieces))
        if self._size > HIGH_WATER and not self._paused and not self.complete:
            self._paused = True
            self._flow(False)
        self._wake()
        return rest

    def fail(self, error: BodyError) -> None:
        """End the body with an error for its reader, once what has arrived is read."""
        if not self.complete:
            self._error = self._error or error
            self._wake()

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raises BodyError if it is larger than ``limit`` bytes or stalls."""
        if self._decoder.size > limit:  # refused before it comes, and before somebody waits for it
            raise BodyError(f"request body is larger than {limit} bytes")
        if self.complete:  # the hot path: it came with the head
            data = b"".join(self._pieces)
            self._pieces.clear()
        else:
            async with asyncio.timeout(READ_TIMEOUT_S):
                data = await self._collect(limit)
        if len(data) > limit:
            raise BodyError(f"request body is larger than {limit} bytes")
        return data

    async def _collect(self, limit: int) -> bytes:
        data = bytearray()
        async for piece in self.chunks():
            data += piece
            if len(data) > limit:
                break
        return bytes(data)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises BodyError if the client goes or breaks the framing."""
        if self._expected is not None and not self.complete:
            self._expected()
        self._expected = None
        while True:
            while self._pieces:
                yield self._take()
            if self.complete:
                return
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _take(self) -> bytes:
        piece = self._pieces.popleft()
        self._size -= len(piece)
        if self._paused and self._size < LOW_WATER:
            self._paused = False
            self._flow(True)
        return piece

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None
