"""Words on the internal sockets: onggid to launcher, onggid to monitor.

To the launcher: a fixed 64-byte header and descriptors. It never reads what it forwards, or one
container's secrets would be found in the memory of every later monitor (seen). To a monitor: JSON objects
over SEQPACKET; unknown fields are ignored and never reused, each verb exists for ever.

Launcher verbs: ``HELLO`` (name: build id), ``RUN`` (name: the container's id, value: how many spares the
engine knows of) + [request memfd, plan memfd, control socket, clients...], ``JOB`` (name: which) +
[arguments memfd, answer socket, descriptors...], ``STAT``, ``STOP``. Answers carry the request's number.
The launcher says ``SPARE`` (name: id) unasked: a container of this id would be started at once.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from onggi.errors import Unavailable
from onggi.kernel import sealed
from onggi.kernel.sockets import receive_message, send_message

Json = Any

LAUNCHER_PROTOCOL = 2
MONITOR_PROTOCOL = 1
HELLO, RUN, JOB, STAT, STOP, SPARE = range(6)
MAX_FDS = 64

_MAGIC = b"ONGG"
_HEADER = struct.Struct("<4sHBBQ32sqq")
_INLINE = 32_000  # larger arguments travel in a memfd: SEQPACKET refuses what exceeds the send buffer
MESSAGE = 200_000


class Header(NamedTuple):
    """The fixed message of the launcher's socket; ``value`` and ``errno`` are used by answers."""

    verb: int
    number: int
    name: str = ""
    value: int = 0
    errno: int = 0
    protocol: int = LAUNCHER_PROTOCOL

    def pack(self) -> bytes:
        """64 bytes."""
        name = self.name.encode("latin-1")[:32]
        return _HEADER.pack(_MAGIC, self.protocol, self.verb, 0, self.number, name, self.value, self.errno)


def name_of(container_id: str) -> str:
    """An id of 64 hexadecimal digits as the name of a header; empty for any other."""
    return bytes.fromhex(container_id).decode("latin-1").rstrip("\0") if len(container_id) == 64 else ""


def id_of(name: str) -> str:
    """The id that ``name_of`` made a name of."""
    return name.encode("latin-1").ljust(32, b"\0").hex()


def unpack(raw: bytes) -> Header:
    """The header of a message; Unavailable if the peer speaks something else."""
    if len(raw) != _HEADER.size or not raw.startswith(_MAGIC):
        raise Unavailable("the launcher's socket carried a message of unknown shape")
    _, protocol, verb, _, number, name, value, errno = _HEADER.unpack(raw)
    return Header(verb, number, name.rstrip(b"\0").decode("latin-1"), value, errno, protocol)


def send_header(sock: socket.socket, header: Header, fds: Sequence[int] = ()) -> None:
    """Send one launcher message."""
    send_message(sock, header.pack(), fds)


def receive_header(sock: socket.socket) -> tuple[Header | None, list[int]]:
    """Receive one launcher message; None at EOF."""
    raw, fds = receive_message(sock, _HEADER.size, MAX_FDS)
    return (unpack(raw) if raw else None), fds


def encode(message: Json, fds: Sequence[int] = ()) -> tuple[bytes, list[int], list[int]]:
    """(payload, descriptors to send, descriptors to close afterwards) of a monitor message."""
    payload = json.dumps(message).encode()
    if len(payload) <= _INLINE:
        return payload, list(fds), []
    memfd = sealed.data("onggi-message", payload)
    return b'{"memfd":true}', [memfd, *fds], [memfd]


def decode(payload: bytes, fds: list[int]) -> tuple[Json, list[int]]:
    """The message and its own descriptors."""
    message = json.loads(payload)
    if message.get("memfd") is True and fds:
        return json.loads(sealed.read(fds[0])), fds[1:]
    return message, fds


def receive(sock: socket.socket) -> tuple[Json, list[int]]:
    """Receive one monitor message; (None, []) at EOF."""
    payload, fds = receive_message(sock, MESSAGE, MAX_FDS)
    return decode(payload, fds) if payload else (None, fds)


def failure_of(error: BaseException) -> Json:
    """What ``containers.failures.remote_error`` makes the same exception of."""
    known = ("call", "errno", "path", "step")
    facts = {name: getattr(error, name) for name in known if hasattr(error, name)}
    return {"kind": type(error).__name__, "message": str(error), **facts}
