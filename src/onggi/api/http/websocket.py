"""The part of RFC 6455 that attach needs: the handshake, and binary messages in both directions."""

from __future__ import annotations

import base64
import hashlib
import struct

from onggi.api.http.message import Request, Response
from onggi.api.http.relay import Decoded
from onggi.containers.options import Hijack
from onggi.errors import InvalidArgument

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_FRAME_LIMIT = 1 << 20
_BINARY, _CLOSE, _PONG = 2, 8, 10
_FINAL, _MASKED = 0x80, 0x80


def accept_key(key: str) -> str:
    """Return the Sec-WebSocket-Accept for a client's key."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID).digest()).decode("ascii")


def upgrade(request: Request, *, answers: bool) -> Hijack:
    """Return what answers the handshake and detaches the stream. Raises InvalidArgument if it is none.

    ``answers`` is whether output may follow upon what the client says last.
    """
    key = request.headers.get("sec-websocket-key")
    if request.headers.get("upgrade", "").lower() != "websocket" or not key:
        raise InvalidArgument("not websocket protocol")
    if request.headers.get("sec-websocket-version") != "13":
        raise InvalidArgument("websocket version must be 13")
    # A browser that offered protocols leaves when none is chosen.
    offered = request.headers.get("sec-websocket-protocol", "").partition(",")[0].strip()
    chosen = (("Sec-WebSocket-Protocol", offered),) if offered else ()
    accepted = (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(key)),
    )
    answer = Response(101, content_type="application/octet-stream", headers=(*accepted, *chosen))
    return lambda: request.hijack_as(answer, WebSocket(answers=answers))


def frame(opcode: int, payload: bytes) -> bytes:
    """Return one final unmasked frame, as servers send."""
    size = len(payload)
    if size < 126:
        head = bytes((_FINAL | opcode, size))
    elif size < 1 << 16:
        head = struct.pack(">BBH", _FINAL | opcode, 126, size)
    else:
        head = struct.pack(">BBQ", _FINAL | opcode, 127, size)
    return head + payload


class WebSocket:
    """Codec of one connection; fragments are passed on as they come, since the stream has no messages."""

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self._buffer = bytearray()

    def decode(self, data: bytes) -> Decoded:
        """Return the payload of whole frames; pings are answered. Raises ValueError on a broken frame."""
        self._buffer += data
        payload, reply = bytearray(), bytearray()
        while (parsed := self._take_frame()) is not None:
            opcode, content = parsed
            match opcode:
                case 0 | 1 | 2:  # continuation, text, binary
                    payload += content
                case 8:
                    return Decoded(bytes(payload), bytes(reply), ended=True)
                case 9:
                    reply += frame(_PONG, content)
                case 10:
                    continue
                case _:
                    raise ValueError(f"unknown opcode {opcode}")
        return Decoded(bytes(payload), bytes(reply))

    def encode(self, data: bytes) -> bytes:
        """Return ``data`` as one binary message."""
        return frame(_BINARY, data)

    def farewell(self) -> bytes:
        """A close frame with status 1000, normal closure."""
        return frame(_CLOSE, struct.pack(">H", 1000))

    def _take_frame(self) -> tuple[int, bytes] | None:
        header = _frame_header(self._buffer)
        if header is None:
            return None
        start, size = header
        if len(self._buffer) < start + size:
            return None
        mask = self._buffer[start - 4 : start]
        content = unmask(bytes(self._buffer[start : start + size]), bytes(mask))
        opcode = self._buffer[0] & 0x0F
        del self._buffer[: start + size]
        return opcode, content


def _frame_header(buffer: bytearray) -> tuple[int, int] | None:
    """Where the payload begins and how long it is; None while the header is incomplete."""
    if len(buffer) < 2:
        return None
    if not buffer[1] & _MASKED:
        raise ValueError("frames of a client must be masked")
    size, extra = buffer[1] & 0x7F, 0
    if size == 126:
        extra = 2
    elif size == 127:
        extra = 8
    if len(buffer) < 2 + extra + 4:
        return None
    if extra:
        size = int.from_bytes(buffer[2 : 2 + extra], "big")
    if size > _FRAME_LIMIT:
        raise ValueError(f"frame is larger than {_FRAME_LIMIT} bytes")
    return 2 + extra + 4, size


def unmask(data: bytes, mask: bytes) -> bytes:
    """Apply a 4-byte mask (its own inverse)."""
    size = len(data)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
