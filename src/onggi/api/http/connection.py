"""One HTTP/1.1 connection: requests in, answers out, or a hijack by which the socket leaves the daemon."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol, cast

from onggi.api.http.body import Body, BodyError
from onggi.api.http.message import (
    Head,
    HeadError,
    Request,
    Response,
    Stream,
    find_head_end,
    has_no_body,
    parse_head,
    render_head,
)
from onggi.api.http.relay import Codec, Plain, Relay
from onggi.containers.options import Hijacked
from onggi.kernel.sockets import peer_credentials

log = logging.getLogger(__name__)

PIPELINE_LIMIT = 1 << 16  # bytes of later requests kept while one is served
WRITE_HIGH = 1 << 14  # bytes of an answer kept for a slow reader
HEAD_TIMEOUT_S = 60.0
IDLE_TIMEOUT_S = 180.0
LINGER_TIMEOUT_S = 2.0
LINGER_LIMIT = 64 << 20  # bytes thrown away so that a client reads our refusal before a reset


class Site(Protocol):
    """What a connection asks of its server."""

    connections: set[Connection]
    standing_headers: str
    max_connections: int

    async def handle(self, request: Request, /) -> Response | Stream | None:
        """Answer a request; None means that the connection was hijacked."""

    def refuse(self, error: HeadError, /) -> Response:
        """Render the answer to a head that is no request."""

    def adopt(self, task: asyncio.Task[None]) -> None:
        """Own a task that may outlive its connection."""


class Connection(asyncio.Protocol):
    """States: waiting for a head (no task), serving (a task), lingering (input is thrown away), relaying."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._scanned = 0
        self._body: Body | None = None
        self._request: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._relay: Relay | None = None
        self._lingered: int | None = None
        self._input_ended = False
        self._lost = False
        self._left = False
        self._since = time.monotonic()
        self._peer: tuple[int, int, int] | None = None
        self._address = ""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            self._peer = peer_credentials(sock)
            log.debug("connection of pid %d uid %d gid %d", *self._peer)
        else:
            self._address = str((transport.get_extra_info("peername") or ("",))[0])
        if len(self._site.connections) >= self._site.max_connections:
            self._refuse(HeadError(503, "too many connections"))
        self._site.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Sort bytes into bodies, heads, a relay or the bin."""
        if self._relay is not None:
            self._relay.from_client(data)
            return
        if self._lingered is not None:
            self._throw_away(data)
            return
        if self._body is not None and not self._body.complete:
            data = self._body.feed(data)
        if not data:
            return
        self._buffer += data
        if self._task is None:
            self._next()
        elif len(self._buffer) > PIPELINE_LIMIT:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Keep the transport open: a client may shut its side down and still read."""
        self._input_ended = True
        if self._relay is not None:
            self._relay.client_eof()
        elif self._task is None:
            self._transport.close()
        else:
            self._client_gone()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits for this client."""
        self._lost = True
        self._site.connections.discard(self)
        if self._relay is not None:
            self._relay.client_lost()
        if self._task is not None:
            self._client_gone()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        if self._writable is None:
            self._writable = self._loop.create_future()
        if self._relay is not None:
            self._relay.client_slow(True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        if self._relay is not None:
            self._relay.client_slow(False)

    # for the server

    @property
    def _secret(self) -> bool:
        return self._transport.get_extra_info("sslcontext") is not None

    @property
    def serving(self) -> bool:
        """A request is being answered or a stream relayed."""
        return self._task is not None or self._relay is not None

    def expire(self, now: float) -> None:
        """Close when idle or half a head for too long; called every few seconds."""
        if self.serving or self._lingered is not None:
            return
        if now - self._since > (HEAD_TIMEOUT_S if self._buffer else IDLE_TIMEOUT_S):
            self._transport.close()

    def close(self) -> None:
        """End now, or after the answer that is being made."""
        if self._task is None:
            self._transport.close()
        elif self._request is not None:
            self._request.keep_alive = False

    def cut_stream(self) -> None:
        """End what only serves its client; a handler that has begun something goes on."""
        if self._request is not None and self._request.until_eof:
            self.abort()

    def abort(self) -> None:
        """End at once."""
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    # requests

    def _next(self) -> None:
        while self._buffer[:2] == b"\r\n":  # RFC 9112 section 2.2: empty lines before a request
            del self._buffer[:2]
        if not self._buffer:
            return
        try:
            size = find_head_end(self._buffer, self._scanned)
            self._scanned = len(self._buffer)
            if not size:
                return
            head = parse_head(bytes(self._buffer[:size]))
        except HeadError as error:
            self._refuse(error)
            return
        del self._buffer[:size]
        self._scanned = 0
        self._begin(head)

    def _begin(self, head: Head) -> None:
        wants_go_ahead = head.http11 and "100-continue" in head.headers.get("expect", "").lower()
        body = Body(head.decoder, self._flow, self._go_ahead if wants_go_ahead else None)
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._body = body
        if rest and not body.complete:
            rest = body.feed(rest)
        self._buffer += rest
        request = Request(head, body, self._peer)
        request.hijack_as, request.address = self._hijack, self._address
        self._request = request
        self._left = False
        self._task = self._loop.create_task(self._serve(request))
        self._site.adopt(self._task)
        if self._input_ended:
            self._client_gone()

    def _flow(self, on: bool) -> None:
        if not self._lost:
            (self._transport.resume_reading if on else self._transport.pause_reading)()

    def _go_ahead(self) -> None:
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _client_gone(self) -> None:
        if self._body is not None:
            self._body.fail(BodyError("unexpected EOF"))
        if self._task is None or self._request is None or not self._request.until_eof or self._left:
            return
        # Once: the end of the input and the loss of the connection both come here, and what a handler does
        # behind the first must not be cut short by the second.
        self._left = True
        self._task.cancel()

    async def _serve(self, request: Request) -> None:
        try:
            answer = await self._site.handle(request)
            if self._request is not request:
                return  # hijacked
            if answer is None:
                raise ConnectionAbortedError("the handler neither answered nor took the connection")
            if isinstance(answer, Stream):
                await self._send_stream(request, answer)
            else:
                self._send_whole(request, answer)
            await self._drain()
        except (asyncio.CancelledError, ConnectionError):
            self._transport.abort()
            return
        except Exception:
            log.exception("answer to %s %s broke off", request.method, request.path)
            self._transport.abort()
            return
        self._finish(request)

    def _finish(self, request: Request) -> None:
        self._task = self._request = None
        self._since = time.monotonic()
        if not request.body.complete:
            self._linger()
        elif not request.keep_alive or (self._input_ended and not self._buffer):
            self._transport.close()
        else:
            self._body = None
            self._transport.resume_reading()
            self._next()
            if self._input_ended and self._task is None:
                self._transport.close()

    # answers

    def _send_whole(self, request: Request, answer: Response) -> None:
        request.keep_alive = request.keep_alive and request.body.complete
        framing = "" if has_no_body(answer.status) else f"Content-Length: {len(answer.body)}\r\n"
        head = render_head(
            answer,
            self._site.standing_headers,
            framing=framing,
            keep_alive=request.keep_alive,
            typed=bool(answer.body),
        )
        bare = request.method == "HEAD" or has_no_body(answer.status)
        self._transport.write(head if bare else head + answer.body)

    async def _send_stream(self, request: Request, answer: Stream) -> None:
        chunked = answer.size is None and request.http11
        whole = chunked or answer.size is not None
        request.keep_alive = request.keep_alive and request.body.complete and whole
        framing = f"Content-Length: {answer.size}\r\n" if answer.size is not None else ""
        framing = "Transfer-Encoding: chunked\r\n" if chunked else framing
        head = render_head(
            answer, self._site.standing_headers, framing=framing, keep_alive=request.keep_alive
        )
        self._transport.write(head)
        if request.method == "HEAD":
            return
        left = answer.size
        async with aclosing(cast("AsyncGenerator[bytes, None]", answer.chunks)) as chunks:
            async for chunk in chunks:
                left = None if left is None else left - len(chunk)
                if chunk:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                    await self._drain(answer.stall_s)
        if left:
            raise ConnectionAbortedError("the body is not as long as its head says")
        if chunked:
            self._transport.write(b"0\r\n\r\n")

    async def _drain(self, stall_s: float | None = None) -> None:
        if self._writable is not None:
            try:
                async with asyncio.timeout(stall_s):
                    await asyncio.shield(self._writable)
            except TimeoutError:
                raise ConnectionAbortedError("the client takes no bytes") from None
        if self._lost:
            raise ConnectionResetError

    # ends

    def _refuse(self, error: HeadError) -> None:
        answer = self._site.refuse(error)
        framing = f"Content-Length: {len(answer.body)}\r\n"
        head = render_head(answer, self._site.standing_headers, framing=framing, keep_alive=False)
        self._transport.write(head + answer.body)
        self._linger()

    def _linger(self) -> None:
        # A close with unread input resets the connection, and the client would not see the answer.
        self._lingered = 0
        self._buffer.clear()
        if self._input_ended or self._lost:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._loop.call_later(LINGER_TIMEOUT_S, self._transport.abort)

    def _throw_away(self, data: bytes) -> None:
        self._lingered = (self._lingered or 0) + len(data)
        if self._lingered > LINGER_LIMIT:
            self._transport.abort()

    # hijack

    async def _hijack(self, answer: Response, codec: Codec | None) -> Hijacked:
        """Answer, flush, and give the socket away; never a shutdown, which would act on every copy of it."""
        if self._request is None or self._lost:
            raise ConnectionResetError("the client has gone")
        self._transport.pause_reading()
        head = render_head(answer, self._site.standing_headers, framing="", keep_alive=True)
        self._transport.write(head)
        if codec is not None or self._secret:
            return await self._relay_hijack(codec or Plain())
        self._transport.set_write_buffer_limits(high=0)
        await self._drain()
        early = self._leave_http()
        sock = self._transport.get_extra_info("socket")
        fd = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
        self._transport.close()  # closes our descriptor only: nothing is left to write
        return Hijacked(fd, early)

    def _leave_http(self) -> bytes:
        """No more requests here; return what was read behind the last one."""
        early = bytes(self._buffer)
        self._buffer.clear()
        self._task = self._request = None
        return early

    async def _relay_hijack(self, codec: Codec) -> Hijacked:
        self._relay, hijacked = await Relay.open(self._transport, codec)
        if early := self._leave_http():
            self._relay.from_client(early)
        if self._input_ended:
            self._relay.client_eof()
        else:
            self._transport.resume_reading()
        return hijacked
