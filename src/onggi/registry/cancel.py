"""Ending blocking network calls from another thread.

A thread that waits in recv(2) wakes up when its socket is shut down. A ``Guard`` holds duplicates of the
sockets of one exchange for that: a duplicate names the same connection, survives TLS wrapping, and cannot be
mistaken for another connection that was given the same number meanwhile.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from onggi.errors import Unavailable


class Cancelled(Unavailable):
    """The caller's ``Cancel`` was set."""

    def __init__(self) -> None:
        super().__init__("context canceled")


class Cancel:
    """A switch that ends every call it was given to; ``set`` may come from any thread, once is for ever."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._guards: set[Guard] = set()

    def set(self) -> None:
        """End the calls that run and refuse those that follow."""
        self._event.set()
        with self._lock:
            guards = list(self._guards)
        for guard in guards:
            guard.cut()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise Cancelled if it is set."""
        if self._event.is_set():
            raise Cancelled

    def sleep(self, seconds: float) -> None:
        """Wait; raises Cancelled as soon as it is set."""
        if self._event.wait(seconds):
            raise Cancelled

    def take(self, lock: threading.Lock) -> None:
        """Acquire a lock; raises Cancelled while somebody else holds it."""
        while not lock.acquire(timeout=0.05):
            self.check()

    def _add(self, guard: Guard) -> None:
        with self._lock:
            self._guards.add(guard)
        self.check()

    def _discard(self, guard: Guard) -> None:
        with self._lock:
            self._guards.discard(guard)


class Guard:
    """The sockets of one exchange, shut down when ``cancel`` is set or ``limit_s`` is over.

    ``permit`` judges the address of a connection before it is used, and raises.
    """

    def __init__(
        self, cancel: Cancel, limit_s: float | None, permit: Callable[[str], None] | None = None
    ) -> None:
        self.cancel = cancel
        self.peer = ""  # address of the last connection
        self.expired = False
        self._permit = permit
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._cut = False
        self._timer = threading.Timer(limit_s or 0, self._expire)
        self._timer.daemon = True
        self._timed = limit_s is not None

    def __enter__(self) -> Self:
        try:
            self.cancel._add(self)
        except Cancelled:
            self.cancel._discard(self)
            raise
        if self._timed:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the sockets without touching their connections; may be called twice."""
        self._timer.cancel()
        self.cancel._discard(self)
        with self._lock:
            for held in self._sockets:
                held.close()
            self._sockets.clear()

    def disarm(self) -> None:
        """No time limit from here on."""
        self._timer.cancel()

    def admit(self, address: str) -> None:
        """Note the address that is about to be used; raises if the exchange may not talk to it."""
        if self._permit is not None:
            self._permit(address)
        self.peer = address

    def adopt(self, connection: socket.socket) -> None:
        """Watch over a socket from now on."""
        with self._lock:
            self._sockets.append(socket.fromfd(connection.fileno(), connection.family, connection.type))
        self.check()

    def check(self) -> None:
        """Raise if the exchange was cut off."""
        self.cancel.check()
        if self._cut:
            raise TimeoutError("i/o timeout")

    def cut(self) -> None:
        """Shut the connections down: whoever waits for them wakes up."""
        with self._lock:
            self._cut = True
            for held in self._sockets:
                _shut_down(held)

    def _expire(self) -> None:
        self.expired = True
        self.cut()


def _shut_down(held: socket.socket) -> None:
    try:
        held.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # not connected yet, or already gone: nobody waits for it
