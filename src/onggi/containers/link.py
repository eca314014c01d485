"""Connections to the processes that own containers: one to the launcher, one to each monitor.

A connection's reader is the event loop; every answer finds its future by number.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from onggi.containers.failures import remote_error
from onggi.containers.streams import readable
from onggi.errors import NotFound, Unavailable
from onggi.kernel import sealed
from onggi.kernel.sockets import connect_unix, receive_message, send_message
from onggi.launch import protocol
from onggi.launch.start import start_launcher

Json = Any
_REPLACED_S = 20.0  # a launcher takes some 50 ms


class Link:
    """A SEQPACKET connection to a monitor: requests with answers, and events."""

    def __init__(
        self, sock: socket.socket, on_event: Callable[[Json, list[int]], None], on_end: Callable[[], None]
    ) -> None:
        self._sock, self._on_event, self._on_end = sock, on_event, on_end
        self._pending: dict[int | str, asyncio.Future[Json]] = {}  # by a request's number, an exec's id
        self._number = 0
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._ready)

    async def call(self, verb: str, arguments: Json, fds: Sequence[int] = ()) -> Json:
        """Ask and wait for the answer. Raises what the monitor raised, or Unavailable if it goes."""
        self._number += 1
        future: asyncio.Future[Json] = self._loop.create_future()
        self._pending[self._number] = future
        message = {"n": self._number, "verb": verb, "args": arguments}
        payload, sent, own = protocol.encode(message, fds)
        try:
            send_message(self._sock, payload, sent)
        except OSError:
            self._pending.pop(self._number, None)
            raise NotFound("the container's monitor is gone") from None
        finally:
            for fd in own:
                os.close(fd)
        return await future

    async def exec_ended(self, exec_id: str) -> Json:
        """Wait for the monitor's word about an exec that has been started: {"code"}; for one caller. It may
        have come already. Raises NotFound if the monitor goes before.
        """
        if self._sock.fileno() < 0:
            raise NotFound("the container's monitor is gone")
        try:
            return await self._ended(exec_id)
        finally:
            self._pending.pop(exec_id, None)

    def _ended(self, exec_id: str) -> asyncio.Future[Json]:
        if exec_id not in self._pending:
            self._pending[exec_id] = self._loop.create_future()
        return self._pending[exec_id]

    def close(self) -> None:
        """Let go of the connection; the monitor goes on."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(NotFound("the container's monitor is gone"))
        self._pending.clear()

    def _ready(self) -> None:
        while self._sock.fileno() >= 0:
            try:
                message, fds = _receive(self._sock)
            except BlockingIOError:
                return
            except OSError:
                message, fds = None, []
            if message is None:
                self.close()
                self._on_end()
                return
            self._dispatch(message, fds)

    def _dispatch(self, message: Json, fds: list[int]) -> None:
        if message.get("event") == "exec_exited":
            ended = self._ended(message["id"])
            if not ended.done():
                ended.set_result({"code": message["code"]})
            return
        if "event" in message:
            self._on_event(message, fds)
            return
        future = self._pending.pop(message.get("n", 0), None)
        if future is None or future.done():
            for fd in fds:
                os.close(fd)
        elif "error" in message:
            with contextlib.suppress(asyncio.InvalidStateError):
                future.set_exception(remote_error(message["error"]))
        else:
            result = message.get("result")
            future.set_result({**result, "fd": fds[0]} if fds else result)


class LauncherLink:
    """The connection to the launcher; ``open`` it again when its process has ended."""

    def __init__(self, exec_root: str, build: str, cgroup_parent: str, spares: int) -> None:
        self.exec_root, self.build, self.cgroup_parent = exec_root, build, cgroup_parent
        self.spares = spares
        self.ids: deque[str] = deque()  # of containers that it would start at once
        self.pid = 0
        self._sock: socket.socket | None = None
        self._replaced = asyncio.Event()

    def open(self, log_fd: int) -> int:
        """Connect to the running launcher or start one, and return its pid. Blocking, on the loop's thread.

        One of another build is asked to stop (its monitors stay) and replaced. ``log_fd`` takes what
        launchers print and stays the caller's.
        """
        self.close()
        path = f"{self.exec_root}/launcher.sock"
        try:
            sock = self._greet(connect_unix(path, socket.SOCK_SEQPACKET))
        except (OSError, Unavailable):
            start_launcher(self.exec_root, self.build, self.cgroup_parent, log_fd, self.spares)
            sock = self._greet(connect_unix(path, socket.SOCK_SEQPACKET))
        sock.setblocking(False)
        self._sock = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._ready)
        self._replaced.set()
        return self.pid

    async def replaced(self, pid: int) -> None:
        """Wait until another launcher than ``pid`` is there; raises Unavailable if that takes too long."""
        while self.pid == pid:
            self._replaced.clear()
            try:
                async with asyncio.timeout(_REPLACED_S):
                    await self._replaced.wait()
            except TimeoutError:
                raise Unavailable("the launcher does not answer") from None

    def _greet(self, sock: socket.socket) -> socket.socket:
        sock.settimeout(30)
        protocol.send_header(sock, protocol.Header(protocol.HELLO, 0, self.build[:32]))
        answer, _ = protocol.receive_header(sock)
        if answer is None or answer.name != self.build[:32] or answer.protocol != protocol.LAUNCHER_PROTOCOL:
            with contextlib.suppress(OSError), sock:
                protocol.send_header(sock, protocol.Header(protocol.STOP, 1))
                # Not only to its answer: who closes with something unread (it tells of spares) resets the
                # connection, and may take the STOP along. Its spares then keep the ids of new containers.
                while protocol.receive_header(sock)[0] is not None:
                    continue
            raise Unavailable("the running launcher is of another build")
        self.pid = answer.value
        return sock

    def send(self, verb: int, name: str, fds: Sequence[int]) -> None:
        """Ask for a fork. A fork that fails is seen as the end of the descriptor's other side."""
        if self._sock is None:
            raise Unavailable("the launcher is not running")
        try:
            protocol.send_header(self._sock, protocol.Header(verb, 1, name, len(self.ids)), fds)
        except OSError as error:
            raise Unavailable(f"the launcher does not answer: {error.strerror}") from None

    async def job(self, name: str, arguments: Json, fds: Sequence[int]) -> Json:
        """Run a job in a fork of the launcher; raises what it raised. ``fds`` stay the caller's, as those of
        the answer become.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        memfd = sealed.data("onggi-job", msgspec.json.encode(arguments))
        try:
            self.send(protocol.JOB, name, [memfd, theirs.fileno(), *fds])
            theirs.close()
            await readable(ours.fileno())
            message, given = protocol.receive(ours)
        finally:
            os.close(memfd)
            ours.close()
            theirs.close()
        if message is None:
            raise Unavailable(f"the job {name} was killed")
        if "error" in message:
            raise remote_error(message["error"])
        return {**message["result"], "fds": given} if given else message["result"]

    def close(self) -> None:
        """Let go of the launcher; it goes on while it has monitors. Idempotent."""
        if self._sock:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None
            self.ids.clear()

    def _ready(self) -> None:
        """Answers say only that a fork was made; the end of the connection means the launcher died."""
        while self._sock:
            try:
                answer, _ = protocol.receive_header(self._sock)
            except BlockingIOError:
                return
            except OSError:
                answer = None
            if answer is None:
                self.close()
            elif answer.verb == protocol.SPARE:
                self.ids.append(protocol.id_of(answer.name))


def _receive(sock: socket.socket) -> tuple[Json, list[int]]:
    """``protocol.receive`` with a faster decoder."""
    payload, fds = receive_message(sock, protocol.MESSAGE, protocol.MAX_FDS)
    if not payload:
        return None, fds
    message = msgspec.json.decode(payload)
    if message.get("memfd") is True and fds:
        return protocol.decode(payload, fds)
    return message, fds
