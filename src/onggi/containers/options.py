"""Records by which the API calls the container service: what a client wants streamed, and its detached
socket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec


class Hijacked(NamedTuple):
    """A connection that left HTTP: a non-blocking descriptor, the receiver's own, and bytes already read."""

    fd: int
    early: bytes


# Answers 101, flushes, detaches the socket from the loop. Raises ConnectionError if the client has gone.
Hijack = Callable[[], Awaitable[Hijacked]]


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which log records; ``tail`` -1 is all, times are ns since the epoch and 0 is open."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    tail: int = -1
    since_ns: int = 0
    until_ns: int = 0


class AttachOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is attached to; ``logs`` replays, ``stream`` goes on live; empty keys: the default.

    ``framed`` selects docker's 8-byte headers; None means: unless the container has a terminal.
    """

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    stream: bool = False
    logs: bool = False
    detach_keys: str = ""
    framed: bool | None = None


class ExecOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How an exec is started; ``size`` is (rows, columns)."""

    detach: bool = False
    tty: bool = False
    size: tuple[int, int] | None = None
