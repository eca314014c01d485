"""The launcher: a small, clean, single-threaded process that forks one monitor per container and never reads
what it forwards.

It is started from a sealed copy of the interpreter with ``-I -S``, imports everything once, closes the
door, and then serves ``<exec-root>/launcher.sock``. If an onggid that was started on demand dies while
containers run, the launcher starts it again; if the launcher dies, running containers do not notice.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

from onggi.errors import OnggiError
from onggi.kernel import cgroup_mounts, cgroups, door, heap, syscalls
from onggi.kernel.sockets import bind_unix, peer_credentials
from onggi.launch import jobs, monitor, protocol, request, spare
from onggi.launch.protocol import HELLO, JOB, RUN, SPARE, STAT, STOP, Header
from onggi.runtime.spare import sample

_RESTARTS_PER_MINUTE, _MINUTE_S = 5, 60.0
# A spare is forked when nothing happened for so long: sooner it would take the processors from the very
# start that took the last one. While another waits, there is time for that container's whole life.
_QUIET_S, _QUIET_WITH_SPARES_S = 0.01, 0.08


class Spare(NamedTuple):
    """A monitor that waits for its container."""

    sock: socket.socket
    pid: int
    seat: spare.Seat
    ready: bool = False


class Launcher:
    """One poll loop over the listening socket, connections, children and the engine's process."""

    def __init__(self, exec_root: str, build: str, containers_group: str, spares: int) -> None:
        self.exec_root, self.build, self.pool_size = exec_root, build, spares
        self.seats = spare.Seats(exec_root, containers_group, cgroup_mounts.detect())
        self.seats.open()
        self.listener = bind_unix(f"{exec_root}/launcher.sock", socket.SOCK_SEQPACKET)
        self.poll = select.epoll()
        self.connections: dict[int, socket.socket] = {}
        self.greeted: list[socket.socket] = []  # who has said HELLO, and hears of spares
        self.children: dict[int, int] = {}  # pidfd -> pid
        self.engines: dict[int, int] = {}  # pidfd -> pid of an onggid that is connected
        self.spares: dict[int, Spare] = {}  # descriptor of our end -> spare
        self.rehearsal = spare.Rehearsal(request.sample(), sample())
        self.restarts: list[float] = []
        self.engine_due = 0.0  # when another engine is to be started, 0 for never
        self.deserted = False  # the engine is gone, and nobody came after it
        self.stopping = False
        self.poll.register(self.listener, select.EPOLLIN)

    def serve(self) -> None:
        """Serve until stopped; that ends the launcher and its spares, never a monitor."""
        while not self.stopping:
            events = self.poll.poll(self._patience())
            for fd, _ in events:
                self._ready(fd)
            self._start_due_engine()
            if not events and len(self.spares) < self.pool_size:
                self._fill()

    def _fill(self) -> None:
        """Fork one spare."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        seat = self.seats.new()

        def become(fds: list[int], warm: spare.Warm) -> NoReturn:
            monitor.main(fds, self.seats, warm)

        def wait() -> NoReturn:
            ours.close()
            spare.main(theirs, seat, self.rehearsal, become)

        pid = self._fork(wait)
        theirs.close()
        self.spares[ours.fileno()] = Spare(ours, pid, seat)
        self.poll.register(ours, select.EPOLLIN)

    def _ready(self, fd: int) -> None:
        if fd == self.listener.fileno():
            self._accept()
        elif fd in self.connections:
            self._receive(self.connections[fd])
        elif fd in self.children:
            self._reap(fd)
        elif fd in self.engines:
            self._engine_ended(fd)
        elif fd in self.spares:
            self._spare_spoke(fd)

    def _accept(self) -> None:
        sock, _ = self.listener.accept()
        pid, uid, _ = peer_credentials(sock)
        if uid not in (0, os.geteuid()):
            sock.close()
            return
        self.connections[sock.fileno()] = sock
        self.poll.register(sock, select.EPOLLIN)
        self._watch_engine(pid)

    def _watch_engine(self, pid: int) -> None:
        if pid in self.engines.values():
            return
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(pid)
            self.engines[pidfd] = pid
            self.poll.register(pidfd, select.EPOLLIN)
            self.deserted, self.engine_due = False, 0.0

    def _receive(self, sock: socket.socket) -> None:
        try:
            header, fds = protocol.receive_header(sock)
        except (OnggiError, OSError):
            header, fds = None, []
        if header is None:
            self._disconnect(sock)
            return
        try:
            answer = self._answer(header, fds)
        except OSError as error:
            answer = header._replace(errno=error.errno or 5)
        finally:
            for fd in fds:
                os.close(fd)
        with contextlib.suppress(OSError):
            protocol.send_header(sock, answer)
            if header.verb == HELLO:
                self.greeted.append(sock)
                for waiting in self.spares.values():
                    self._announce(waiting, [sock])

    @staticmethod
    def _announce(waiting: Spare, to: Iterable[socket.socket]) -> None:
        for sock in to if waiting.ready else ():
            with contextlib.suppress(OSError):
                protocol.send_header(sock, Header(SPARE, 0, protocol.name_of(waiting.seat.id)))

    def _answer(self, header: Header, fds: list[int]) -> Header:
        if header.verb == HELLO:
            return Header(HELLO, header.number, self.build, os.getpid())
        if header.verb == RUN:
            return Header(RUN, header.number, value=self._run(header, fds))
        if header.verb == JOB:
            pid = self._fork(lambda: jobs.main(header.name, fds))
            return Header(JOB, header.number, value=pid)
        if header.verb == STAT:
            return Header(STAT, header.number, value=len(self.children) - len(self.spares))
        self.stopping = self.stopping or header.verb == STOP
        return Header(
            header.verb, header.number, errno=0 if header.verb == STOP else 38
        )  # ENOSYS: an unknown verb

    def _run(self, header: Header, fds: list[int]) -> int:
        """Pass a request on to the spare with the container's id, or fork a monitor for it; returns the
        monitor's pid.
        """
        ready = [(fd, waiting) for fd, waiting in self.spares.items() if waiting.ready]
        for fd, waiting in ready:
            if protocol.name_of(waiting.seat.id) == header.name:
                self._forget_spare(fd)
                with contextlib.suppress(OSError), waiting.sock:
                    protocol.send_header(waiting.sock, header, fds)
                    return waiting.pid
        if ready and not header.value:
            # The engine gave its id to a container that nobody started: the oldest makes room.
            self._forget_spare(ready[0][0]).sock.close()
        return self._fork(lambda: monitor.main(fds, self.seats))

    def _spare_spoke(self, fd: int) -> None:
        """A spare is ready, or has died."""
        try:
            word = self.spares[fd].sock.recv(1)
        except OSError:
            word = b""
        if word == spare.READY:
            self.spares[fd] = self.spares[fd]._replace(ready=True)
            self._announce(self.spares[fd], self.greeted)
        else:
            dead = self._forget_spare(fd)
            dead.sock.close()
            self._fork(lambda: spare.settle(dead.seat))

    def _forget_spare(self, fd: int) -> Spare:
        self.poll.unregister(fd)
        return self.spares.pop(fd)

    def _fork(self, work: Callable[[], NoReturn]) -> int:
        pid = os.fork()
        if pid == 0:
            self._become_child()
            try:
                work()
            finally:
                os._exit(1)
        pidfd = os.pidfd_open(pid)
        self.children[pidfd] = pid
        self.poll.register(pidfd, select.EPOLLIN)
        return pid

    def _become_child(self) -> None:
        """Leave nothing of the launcher's in the child: not its sockets, not other containers' processes."""
        self.poll.close()
        self.listener.close()
        for sock in (*self.connections.values(), *(waiting.sock for waiting in self.spares.values())):
            sock.close()
        for fd in (*self.children, *self.engines):
            os.close(fd)

    def _reap(self, pidfd: int) -> None:
        pid = self.children.pop(pidfd)
        self.poll.unregister(pidfd)
        os.close(pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        if self.deserted and not self.engine_due:
            self.stopping = self._childless()

    def _disconnect(self, sock: socket.socket) -> None:
        self.connections.pop(sock.fileno(), None)
        if sock in self.greeted:
            self.greeted.remove(sock)
        self.poll.unregister(sock)
        sock.close()

    # -- watching the engine -------------------------------------------------------------------------------

    def _engine_ended(self, pidfd: int) -> None:
        pid = self.engines.pop(pidfd)
        self.poll.unregister(pidfd)
        os.close(pidfd)
        if self.engines:
            return
        self.deserted = True
        if self._word() is not None:
            self.engine_due = self._next_restart()
        else:
            # Nobody to serve: a new engine starts a launcher of its own.
            self.stopping = self._childless(pid)

    def _childless(self, but: int = 0) -> bool:
        """Whether no monitor and no job is left; ``but`` is a child that has ended and is not reaped yet."""
        return not {*self.children.values()} - {but, *(waiting.pid for waiting in self.spares.values())}

    def _next_restart(self) -> float:
        """Now, or when the oldest of five restarts is a minute ago."""
        now = time.monotonic()
        self.restarts = [moment for moment in self.restarts if now - moment < _MINUTE_S]
        return now if len(self.restarts) < _RESTARTS_PER_MINUTE else self.restarts[0] + _MINUTE_S

    def _patience(self) -> float | None:
        """Seconds until an engine is to be started or a spare to be forked; None for neither."""
        if self.engine_due:
            return max(0.0, self.engine_due - time.monotonic())
        if len(self.spares) >= self.pool_size:
            return None
        return _QUIET_WITH_SPARES_S if self.spares else _QUIET_S

    def _start_due_engine(self) -> None:
        if not self.engine_due or time.monotonic() < self.engine_due:
            return
        self.engine_due = 0.0
        if birth := self._word():
            self._restart_engine(birth)

    def _word(self) -> dict[str, Any] | None:
        """How to start the engine again: an engine on demand that did not end on purpose leaves it.

        A foreground one belongs to its supervisor.
        """
        try:
            with open(f"{self.exec_root}/onggid.json", "rb") as file:
                birth: dict[str, Any] = json.loads(file.read())
        except (OSError, ValueError):
            return None
        return birth

    def _restart_engine(self, birth: dict[str, Any]) -> None:
        self.restarts.append(time.monotonic())
        pid = os.fork()
        if pid == 0:
            self._become_child()
            self._become_engine(birth)
        for table in (self.children, self.engines):
            pidfd = os.pidfd_open(pid)
            table[pidfd] = pid
            self.poll.register(pidfd, select.EPOLLIN)

    @staticmethod
    def _become_engine(birth: dict[str, Any]) -> NoReturn:
        with contextlib.suppress(BaseException):
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_DFL)
            os.execve(birth["argv"][0], birth["argv"], birth["env"])
        os._exit(1)


def main(
    exec_root: str, build: str, ready_fd: int, monitors_group: str, containers_group: str, spares: int
) -> None:
    """Entry of the launcher's interpreter; ``ready_fd`` gets one byte when the socket is served."""
    syscalls.set_name("onggi-launcher")
    # A fork may stay inside a container as its init: the engine's paths are not for it to read.
    syscalls.set_title("onggi")
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    if monitors_group:
        # Monitors are born where they belong: a fork inherits, a move would cost every start.
        group = cgroups.Group(cgroup_mounts.detect(), monitors_group)
        group.create()
        group.place(os.getpid())
    launcher = Launcher(exec_root, build, containers_group, spares)
    door.close()
    heap.settle()
    os.write(ready_fd, b"1")
    os.close(ready_fd)
    launcher.serve()
