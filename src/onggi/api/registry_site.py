"""HTTP for the registry's protocol logic: who is let in, what is logged, how calls and answers travel."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, unquote

from onggi.api.errors import message_of, status_of
from onggi.api.http.body import Body, BodyError
from onggi.api.http.hosting import Hosting
from onggi.api.http.message import HeadError, Request, Response, Stream
from onggi.api.listen import is_loopback
from onggi.errors import InvalidArgument, OnggiError, ServerFailed
from onggi.registry.server import htpasswd
from onggi.registry.server.call import Answer, Call
from onggi.registry.server.refusals import Denied, Refusal, SizeInvalid, Unauthorized, render
from onggi.registry.server.service import Registry

log = logging.getLogger(__name__)

STANDING_HEADERS = "Docker-Distribution-Api-Version: registry/2.0\r\nX-Content-Type-Options: nosniff\r\n"
MAX_CONNECTIONS = 512
STALL_S = 60.0  # without a byte, in either direction; a body that brings less than so many is given up
STALL_BYTES = 16 << 10
CLOSE_TIMEOUT_S = 1.0
HOUSEKEEPING_S = 60.0
_MAX_FIELDS = 1000
_MAX_LINES, _MAX_LINE = 1000, 1000  # of the access log, kept for a client that does not read it
_AT_ONCE = 2  # passwords being hashed
_CHALLENGE = ("WWW-Authenticate", 'Basic realm="Onggi registry", charset="UTF-8"')


class Site:
    """Serves one registry until it is closed.

    ``users`` may be None: everybody. ``local_only``: requests must name this machine, because a web page can
    make a browser here send some, but not with such a Host header (DNS rebinding).
    """

    def __init__(self, registry: Registry, users: htpasswd.Users | None, *, local_only: bool) -> None:
        self._registry, self._users, self._local_only = registry, users, local_only
        self._lines: deque[str] = deque(maxlen=_MAX_LINES)
        self._written = asyncio.Event()
        self._hashing = asyncio.Semaphore(_AT_ONCE)
        self.hosting = Hosting(self._handle, _refuse, STANDING_HEADERS, MAX_CONNECTIONS)

    async def lines(self) -> AsyncIterator[str]:
        """The access log, for ever; uploads that nobody continues end on the way."""
        while True:
            try:
                async with asyncio.timeout(HOUSEKEEPING_S):
                    await self._written.wait()
            except TimeoutError:
                await self._registry.tidy()
            self._written.clear()
            while self._lines:
                yield self._lines.popleft()

    async def close(self) -> None:
        """Stop to accept, cut what is under way, forget unfinished uploads."""
        await self.hosting.close(CLOSE_TIMEOUT_S)
        await self._registry.close()

    async def _handle(self, request: Request) -> Response | Stream:
        started, user = time.monotonic(), "-"
        try:
            user = await self._admit(request)
            answer = await self._registry.answer(_call(request))
        except ConnectionError:
            raise
        except Exception as error:
            answer = render(_refusal(error, f"{request.method} {request.path}"))
        self._lines.append(_line(request, user, answer, time.monotonic() - started))
        self._written.set()
        return _response(answer)

    async def _admit(self, request: Request) -> str:
        """The user's name, or ``-``. Raises Unauthorized or Denied."""
        if self._users is not None:
            return await self._authenticate(self._users, request.headers.get("authorization", ""))
        if self._local_only and not is_loopback(_host(request.headers.get("host", ""))):
            raise Denied(message="this registry serves its own machine only: unexpected Host header")
        return "-"

    async def _authenticate(self, users: htpasswd.Users, header: str) -> str:
        given = htpasswd.basic(header)
        if given is None:
            raise Unauthorized(headers=(_CHALLENGE,))
        if not users.remembered(*given):
            async with self._hashing:
                right = await asyncio.to_thread(users.check, *given)
            if not right:
                raise Unauthorized(headers=(_CHALLENGE,))
        return given[0]


def _host(header: str) -> str:
    """The Host header without its port."""
    host, colon, port = header.rpartition(":")
    return (host if colon and port.isdigit() else header).strip("[]")


def _call(request: Request) -> Call:
    chunked = "transfer-encoding" in request.headers
    try:
        query = parse_qs(request.query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise InvalidArgument(f"malformed query: {error}") from None
    return Call(
        request.method,
        unquote(request.path),
        query,
        request.headers,
        _arriving(request.body),
        None if chunked else int(request.headers.get("content-length", "0")),
    )


async def _arriving(body: Body) -> AsyncIterator[bytes]:
    """The body's pieces. Raises TimeoutError if none comes for long, or next to nothing."""
    pieces = aiter(body.chunks())
    got, since = 0, time.monotonic()
    while True:
        try:
            async with asyncio.timeout(STALL_S):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        got += len(piece)
        if time.monotonic() - since > STALL_S:
            if got < STALL_BYTES:
                raise TimeoutError("the body comes too slowly")
            got, since = 0, time.monotonic()
        yield piece


def _response(answer: Answer) -> Response | Stream:
    if isinstance(answer.body, bytes):
        return Response(answer.status, answer.body, answer.content_type, answer.headers)
    return Stream(
        answer.body, answer.status, answer.content_type, answer.headers, size=answer.size, stall_s=STALL_S
    )


def _refuse(error: HeadError) -> Response:
    answer = render(_refusal(error, "request head"))
    assert isinstance(answer.body, bytes)
    return Response(answer.status, answer.body)


def _refusal(error: Exception, where: str) -> Refusal:
    """An error of the engine as one of the protocol's."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, BodyError):
        return SizeInvalid(message=message_of(error))
    refusal = Refusal(message=message_of(error))
    # A mirror whose origin is down may have it again: a registry's clients ask once more at 503.
    refusal.status = 503 if isinstance(error, ServerFailed) else status_of(error)
    if refusal.status >= 500:
        log.error("registry: %s: %s", where, refusal, exc_info=not isinstance(error, OnggiError))
    return refusal


def _line(request: Request, user: str, answer: Answer, took_s: float) -> str:
    """One line of the access log; what the client chose is at its end, and printable."""
    size = len(answer.body) if isinstance(answer.body, bytes) else answer.size
    target = request.path + (f"?{request.query}" if request.query else "")
    words = f"{user} {request.method} {target} {request.headers.get('user-agent', '-')}"
    return f"{request.address} {answer.status} {size} {took_s * 1000:.0f}ms {ascii(words)[1:-1]}"[:_MAX_LINE]
