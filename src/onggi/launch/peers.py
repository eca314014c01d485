"""Who talks to a monitor: the engine's socket from birth, and every later connection to ``monitor.sock``."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from onggi.errors import OnggiError
from onggi.kernel.sockets import bind_unix_once, peer_credentials, send_message
from onggi.launch import protocol
from onggi.launch.loop import IN, Loop

Json = Any
Answer = Callable[[Json, BaseException | None], None]
Serve = Callable[[Json, list[int], Answer], None]


class Peers:
    """Listens, receives requests, sends answers and events."""

    def __init__(self, loop: Loop, directory: str, serve: Serve) -> None:
        self._loop, self._serve = loop, serve
        self._connected: list[socket.socket] = []
        self._listener = bind_unix_once(f"{directory}/monitor.sock", socket.SOCK_SEQPACKET)
        loop.watch(self._listener.fileno(), IN, self._accept)

    def add(self, sock: socket.socket) -> None:
        """Serve a connected socket."""
        self._connected.append(sock)
        self._loop.watch(sock.fileno(), IN, lambda _: self._receive(sock))

    def broadcast(self, event: Json, fds: Sequence[int] = ()) -> None:
        """Tell everybody who is connected."""
        for sock in list(self._connected):
            self._send(sock, event, fds)

    def _accept(self, _: int) -> None:
        sock, _address = self._listener.accept()
        _, uid, _ = peer_credentials(sock)
        # The socket's mode keeps others out; this also holds where a directory was opened up by mistake (rule
        # R6).
        if uid not in (0, os.geteuid()):
            sock.close()
            return
        self.add(sock)

    def _receive(self, sock: socket.socket) -> None:
        try:
            message, fds = protocol.receive(sock)
        except OSError:
            message, fds = None, []
        if message is None:
            self._forget(sock)
            return
        number = message.get("n", 0)

        def answer(result: Json, error: BaseException | None) -> None:
            outcome = {"result": result} if error is None else {"error": protocol.failure_of(error)}
            self._send(sock, {"n": number, **outcome}, [result["fd"]] if result and "fd" in result else [])

        try:
            self._serve(message, fds, answer)
        except (OnggiError, OSError, KeyError, TypeError, ValueError) as error:
            answer(None, error)

    def _send(self, sock: socket.socket, message: Json, fds: Sequence[int] = ()) -> None:
        if sock not in self._connected:
            return
        payload, sent, own = protocol.encode(message, fds)
        try:
            send_message(sock, payload, sent)
        except OSError:
            self._forget(sock)
        finally:
            for fd in own:
                os.close(fd)

    def _forget(self, sock: socket.socket) -> None:
        if sock in self._connected:
            self._connected.remove(sock)
            self._loop.forget(sock.fileno())
            sock.close()
