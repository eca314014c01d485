"""The pump between a person's descriptors and a hijacked connection.

One poll loop: standard input to the socket (closing our half at its end), the socket to standard output and
error, and a wake-up descriptor for signals. Standard input is read only while little waits to be sent, so a
container that does not read costs no memory here.
"""

from __future__ import annotations

import _socket
import os
from select import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, poll

from onggi.client.codec import decode
from onggi.client.errors import ClientError
from onggi.client.frames import FrameDecoder, RawDecoder
from onggi.frames import EARLY_STATUS, FINAL_STATUS, STDERR, SYSTEM_ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Callable

    from onggi.client.codec import Json

BUFFER = 1 << 16
PENDING_LIMIT = 1 << 18
_INPUT = POLLIN | POLLHUP | POLLERR | POLLNVAL


class Ends:
    """The descriptors of the near side; -1 where a stream is not attached."""

    __slots__ = ("stderr", "stdin", "stdout")

    def __init__(self, stdin: int, stdout: int, stderr: int) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr


class DetachKeys:
    """Watches what is typed for the detach sequence: the engine detaches, we only must know."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence, self._at, self.typed = sequence, 0, False

    def watch(self, data: bytes) -> None:
        """Note in ``typed`` whether the sequence has been completed."""
        for byte in data if self._sequence else b"":
            if byte != self._sequence[self._at]:
                self._at = 0
            if byte == self._sequence[self._at]:
                self._at += 1
            if self._at == len(self._sequence):
                self.typed, self._at = True, 0


class Pump:
    """Runs one hijacked connection to its end.

    ``keys`` is given for terminals only. ``wake`` is a descriptor that becomes readable when ``on_wake``
    should run (signals). ``on_status`` receives the private status frames, early and last. The socket belongs
    to the pump.
    """

    def __init__(
        self, sock: Socket, early: bytes, ends: Ends, *, framed: bool, keys: DetachKeys | None = None
    ) -> None:
        self._sock, self._early, self._ends, self.keys = sock, early, ends, keys
        self._decoder: FrameDecoder | RawDecoder = FrameDecoder() if framed else RawDecoder()
        self._pending = bytearray()
        self._stdin_open = ends.stdin >= 0
        self._half_closed = False
        self.final: Json = None
        self.on_status: Callable[[Json], None] = lambda status: None
        self.wake = -1
        self.on_wake: Callable[[], None] = lambda: None

    @property
    def detached(self) -> bool:
        """Whether the person typed the detach keys."""
        return self.keys is not None and self.keys.typed

    def run(self) -> None:
        """Return when the engine has closed the stream, or the person detached. Raises ClientError."""
        self._sock.setblocking(False)
        poller = poll()
        try:
            if self.wake >= 0:
                poller.register(self.wake, POLLIN)
            self._output(memoryview(self._early))
            self._arm(poller)
            while self._turn(dict(poller.poll())):
                self._arm(poller)
        finally:
            self._sock.close()

    def _arm(self, poller: Json) -> None:
        """Register what we wait for now; the socket always, the rest as buffers allow."""
        wants_input = self._stdin_open and len(self._pending) < PENDING_LIMIT
        if wants_input:
            poller.register(self._ends.stdin, POLLIN)
        elif self._ends.stdin >= 0:
            try:
                poller.unregister(self._ends.stdin)
            except KeyError:
                pass  # was not registered: nothing to do
        if not self._stdin_open and not self._pending and not self._half_closed:
            self._half_close()
        poller.register(self._sock.fileno(), POLLIN | (POLLOUT if self._pending else 0))

    def _turn(self, ready: dict[int, int]) -> bool:
        """Do what the ready descriptors allow; False at the end of the stream."""
        if self.wake in ready:
            self.on_wake()
        if ready.get(self._ends.stdin, 0) & _INPUT and self._stdin_open:
            self._input()
        mine = ready.get(self._sock.fileno(), 0)
        if mine & POLLOUT:
            self._send()
        if self.detached and not self._pending:
            return False  # the engine has all that was typed and detaches by itself; it may keep its end open
        return not mine & _INPUT or self._receive()

    def _input(self) -> None:
        try:
            data = os.read(self._ends.stdin, BUFFER)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # EIO: the terminal is gone; the same as its end
        if self.keys is not None:
            self.keys.watch(data)
        self._pending += data
        self._stdin_open = bool(data)
        self._send()

    def _send(self) -> None:
        try:
            if self._pending:
                del self._pending[: self._sock.send(self._pending, _socket.MSG_NOSIGNAL)]
        except BlockingIOError:
            return
        except OSError:
            # The far side reads no more; what it still has to say comes by the other direction.
            self._pending.clear()
            self._stdin_open, self._half_closed = False, True

    def _half_close(self) -> None:
        self._half_closed = True
        if self._ends.stdin < 0:
            return  # nothing was ever to be sent: an engine may take a half-close for a disconnect
        try:
            self._sock.shutdown(_socket.SHUT_WR)
        except OSError:
            return  # already closed by the far side; the receiving half will tell

    def _receive(self) -> bool:
        try:
            data = self._sock.recv(BUFFER * 4)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._output(memoryview(data))
        return bool(data)

    def _output(self, data: memoryview) -> None:
        for kind, payload in self._decoder.feed(data):
            if kind in (EARLY_STATUS, FINAL_STATUS):
                self._status(kind, decode(bytes(payload)))
            elif kind == SYSTEM_ERROR:
                raise ClientError(f"error from daemon in stream: {bytes(payload).decode('utf-8', 'replace')}")
            else:
                write_all(self._ends.stderr if kind == STDERR else self._ends.stdout, payload)

    def _status(self, kind: int, status: Json) -> None:
        if kind == FINAL_STATUS:
            self.final = status
        else:
            self.on_status(status)


def write_all(fd: int, data: memoryview | bytes) -> None:
    """Write every byte to ``fd`` (nothing if it is -1), also where somebody made it non-blocking."""
    view = memoryview(data)
    while view and fd >= 0:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            waiter = poll()
            waiter.register(fd, POLLOUT)
            waiter.poll()
