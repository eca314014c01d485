"""The conversation between a first process and whoever waits outside for it.

A SEQPACKET socket pair, close-on-exec at the inner end. From outside: ``b"1"`` placed in its cgroups,
``b"L"`` limits are in force, ``b"G"`` go. From inside: ``T`` (with the terminal's master), ``P`` prepared,
``F`` + JSON failed; EOF means exec succeeded, unless a failure came first.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import NamedTuple

from onggi.errors import InvalidArgument, KernelError, Unavailable
from onggi.kernel.sockets import receive_message, send_message

PLACED, LIMITED, GO = b"1", b"L", b"G"
TERMINAL, PREPARED, FAILED, PID = b"T", b"P", b"F", b"I"
_LIMIT = 8192


class Failure(NamedTuple):
    """What went wrong inside: the step, the call, errno (0 for a refusal), the object, and a sentence."""

    step: str
    call: str
    errno: int
    path: str
    message: str

    def error(self) -> KernelError | InvalidArgument:
        """The failure as an exception of the outside."""
        if self.errno:
            return KernelError(self.call, self.errno, self.path, self.step)
        return InvalidArgument(self.message or f"{self.step} failed")


def pair() -> tuple[socket.socket, socket.socket]:
    """(outer, inner) ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


def send_failure(inner: socket.socket, failure: Failure) -> None:
    """Report from inside; formats no traceback and opens no file (DECISIONS: the door)."""
    send_message(inner, FAILED + json.dumps(failure)[: _LIMIT - 1].encode())


def failure_of(error: BaseException, step: str) -> Failure:
    """The record of an exception."""
    if isinstance(error, KernelError):
        return Failure(error.step or step, error.call, error.errno, error.path[:1024], "")
    if isinstance(error, OSError):
        return Failure(step, step, error.errno or 5, str(error.filename or "")[:1024], "")
    return Failure(step, "", 0, "", (str(error) or type(error).__name__)[:1024])


def tell(outer: socket.socket, word: bytes) -> None:
    """Say a word from outside. Who has ended does not hear it; what it said before is still to be read."""
    if outer.fileno() >= 0:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send_message(outer, word)


def receive(outer: socket.socket) -> tuple[bytes, bytes, list[int]]:
    """(kind, payload, descriptors); kind is empty at EOF."""
    for _ in range(2):
        try:
            message, fds = receive_message(outer, _LIMIT, 2)
        except ConnectionResetError:
            continue  # it ended without reading all; said once, before what it sent
        return message[:1], message[1:], fds
    return b"", b"", []


def parse_failure(payload: bytes) -> Failure:
    """The failure in an ``F`` message."""
    return Failure(*json.loads(payload))


def expect(inner: socket.socket, what: bytes) -> None:
    """Wait inside for a word from outside; EOF means the other side died."""
    message, _ = receive_message(inner, 1, 1)
    if message != what:
        raise Unavailable("the process that looks after this container ended")
