"""Requests, answers and their heads: parsed by h11, written by hand."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple

import h11

from onggi.api.http.body import Body, ChunkedDecoder, LengthDecoder
from onggi.api.http.json import decode
from onggi.api.http.relay import Codec
from onggi.api.wire import RAW_STREAM
from onggi.containers.options import Hijack, Hijacked
from onggi.errors import InvalidArgument, OnggiError

Json = Any
HEAD_LIMIT = 1 << 20  # as Go's http.DefaultMaxHeaderBytes
JSON_LIMIT = 16 << 20
_MEMORABLE = 512
_CREDENTIAL = re.compile(rb"auth|token|cookie", re.IGNORECASE)
_HEAD_END = re.compile(rb"\n\r?\n")
_ABSOLUTE = re.compile(r"^https?://[^/?]*/?", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[ \t]*application/json[ \t]*(;.*)?", re.IGNORECASE)


class HeadError(OnggiError):
    """A request head that cannot be served; ``status`` is the HTTP status to answer before closing."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Head(NamedTuple):
    """A parsed request head; header names are lower case, repeated headers joined by a comma."""

    method: str
    target: str
    headers: dict[str, str]
    http11: bool
    keep_alive: bool
    decoder: LengthDecoder | ChunkedDecoder


def find_head_end(buffer: bytearray, scanned: int) -> int:
    """Return the length of the head at the start of ``buffer``, or 0 while it is incomplete.

    ``scanned`` is how much was searched before. Raises HeadError (431) over HEAD_LIMIT.
    """
    match = _HEAD_END.search(buffer, max(0, scanned - 2))
    end = match.end() if match else len(buffer)
    if end > HEAD_LIMIT:
        raise HeadError(431, "request header fields too large")
    # TLS or noise on a plain socket never sends a blank line: answer at once.
    if buffer and not match and not 0x20 < buffer[0] < 0x7F and buffer[0] not in b"\r\n":
        raise HeadError(400, "malformed HTTP request")
    return end if match else 0


def parse_head(block: bytes) -> Head:
    """Parse one request head including its blank line. Raises HeadError.

    What a client repeats is answered from memory, unless it is long or may hold a credential.
    """
    memorable = len(block) <= _MEMORABLE and _CREDENTIAL.search(block) is None
    bare = _remembered(block) if memorable else _parse(block)
    return Head(bare.method, bare.target, dict(bare.headers), bare.http11, bare.keep_alive, _framing(bare))


class _Bare(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    http11: bool
    keep_alive: bool


def _parse(block: bytes) -> _Bare:
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT + 1)
    try:
        parser.receive_data(block)
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        words = re.sub(r"bytearray\((.*)\)", r"\1", str(error))
        raise HeadError(error.error_status_hint, f"malformed HTTP request: {words}") from None
    if not isinstance(event, h11.Request):
        raise HeadError(400, "malformed HTTP request")
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    http11 = event.http_version == b"1.1"
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    keep_alive = "close" not in tokens if http11 else "keep-alive" in tokens
    # A proxy asks with the whole address, whose path may be left out (RFC 9112 section 3.2.2).
    target = _ABSOLUTE.sub("/", event.target.decode("ascii"))
    return _Bare(event.method.decode("ascii"), target, headers, http11, keep_alive)


_remembered = functools.lru_cache(maxsize=64)(_parse)


def _framing(bare: _Bare) -> LengthDecoder | ChunkedDecoder:
    # h11 has refused other transfer codings and contradicting lengths.
    if "transfer-encoding" in bare.headers:
        return ChunkedDecoder()
    return LengthDecoder(int(bare.headers.get("content-length", "0")))


class Request:
    """One request on its way to a handler.

    ``path`` is raw until the router has decoded it and taken the version off; ``params`` are the names in it.
    ``api_version`` is (major, minor); ``address`` is the client's over tcp. ``until_eof`` says that the
    handler is cancelled when the client goes; other handlers finish what they have begun.
    """

    __slots__ = (
        "address", "api_version", "body", "headers", "hijack_as", "http11", "keep_alive", "method", "params",
        "path", "peer", "query", "until_eof",
    )  # fmt: skip

    def __init__(self, head: Head, body: Body, peer: tuple[int, int, int] | None) -> None:
        self.method, self.headers, self.http11, self.keep_alive = (
            head.method, head.headers, head.http11, head.keep_alive,
        )  # fmt: skip
        self.path, _, self.query = head.target.partition("?")
        self.body = body
        self.peer = peer
        self.address = ""
        self.params: Mapping[str, str] = {}
        self.api_version = (0, 0)
        self.until_eof = False
        self.hijack_as: Callable[[Response, Codec | None], Awaitable[Hijacked]]

    def hijack(self, content_type: str) -> Hijack:
        """Return what answers 101 (200 without an Upgrade header) and detaches the socket."""
        if "upgrade" in self.headers:
            upgrade = (("Connection", "Upgrade"), ("Upgrade", "tcp"))
            answer = Response(101, content_type=content_type, headers=upgrade)
        else:
            answer = Response(200, content_type=RAW_STREAM)  # as docker, framed or not
        return lambda: self.hijack_as(answer, None)

    async def json(self, *, optional: bool = False) -> Json:
        """Return the decoded JSON body; None if ``optional`` and empty. Raises InvalidArgument."""
        data = await self.body.read(JSON_LIMIT)
        if not data:
            if optional:
                return None
            raise InvalidArgument("invalid JSON: got EOF while reading request body")
        self._check_media_type()
        return decode(data)

    def _check_media_type(self) -> None:
        media_type = self.headers.get("content-type")
        if media_type is None:
            raise InvalidArgument("malformed Content-Type header (): mime: no media type")
        if _MEDIA_TYPE.fullmatch(media_type) is None:
            raise InvalidArgument(
                f"unsupported Content-Type header ({media_type}): must be 'application/json'"
            )


class Response(NamedTuple):
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Stream(NamedTuple):
    """An answer whose head is sent at once and whose body follows in pieces.

    ``size`` is how many bytes they are, if that is known; ``stall_s`` how long a client may take none.
    """

    chunks: AsyncIterator[bytes]
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    size: int | None = None
    stall_s: float | None = None


# docker's clients and their tests know the first by this word.
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {101: "UPGRADED"}
_date = (0, "")


def http_date() -> str:
    """The value of a Date header, made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


def has_no_body(status: int) -> bool:
    """Answers of these statuses end with their head, RFC 9110 section 6.4.1."""
    return status in (204, 304)


def render_head(
    answer: Response | Stream, standing: str, *, framing: str, keep_alive: bool, typed: bool = True
) -> bytes:
    """Return the head of an answer. ``standing`` are ready header lines; ``framing`` is one more or empty."""
    lines = [f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, 'Unknown')}\r\n", standing]
    if typed:
        lines.append(f"Content-Type: {answer.content_type}\r\n")
    lines.extend(f"{name}: {value}\r\n" for name, value in answer.headers)
    lines.append(f"Date: {http_date()}\r\n{framing}")
    lines.append("\r\n" if keep_alive else "Connection: close\r\n\r\n")
    return "".join(lines).encode("latin-1", "replace")
