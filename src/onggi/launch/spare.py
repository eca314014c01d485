"""A monitor forked before it is needed, with its first process already waiting in namespaces and a control
group of its own.

The launcher keeps a few; a request is passed on as it came to the one that has the container's id, and the
pool is filled again while that container starts. A spare knows nothing of any container until then. It ends
when the launcher's end of its socket closes.

    <exec-root>/waiting/<id>    locked while a spare of this id waits; what is left of a dead one, otherwise
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple, NoReturn

from onggi.errors import OnggiError
from onggi.kernel import syscalls
from onggi.kernel.cgroups import Group, Hierarchies
from onggi.launch import protocol
from onggi.launch.children import Children
from onggi.launch.loop import Loop
from onggi.launch.request import parse
from onggi.runtime import channel, spare

READY = b"1"


class Seat(NamedTuple):
    """The id of a container to come, its control group, and the file that tells of both."""

    id: str
    group: Group
    path: str

    def take(self) -> None:
        """Make the file, locked for as long as this process lives, and the group."""
        while True:
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                break
            os.close(fd)  # who looks for what dead spares left was between our two calls
        self.group.create()

    def leave(self) -> None:
        """The group is a container's, or gone: nothing is to be told. Idempotent."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def clear(self) -> None:
        """End what is in the group, and remove it; a failure is left to the next engine."""
        with contextlib.suppress(OnggiError):
            self.group.kill()
            self.group.remove()
            self.leave()

    def settle(self) -> None:
        """Wait for the end of the spare that has or had this seat, and ``clear`` what it left, once.

        Whoever else starts a container of this id does so first: a spare that ends would take it along.
        """
        with contextlib.suppress(FileNotFoundError), open(self.path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                self.clear()

    def group_left(self, _code: int, _signal: int) -> None:
        """The first process has ended, and its container lives elsewhere."""
        self.clear()


class Seats(NamedTuple):
    """The seats of one exec root and of the control group ``parent``."""

    exec_root: str
    parent: str
    hierarchies: Hierarchies

    def open(self) -> None:
        """Make the place for the files."""
        os.makedirs(self._directory, 0o700, exist_ok=True)

    def new(self) -> Seat:
        """A seat with a random id, not taken yet; its first twelve digits can be a hostname."""
        while (container_id := os.urandom(32).hex())[:12].isdigit():
            continue
        return self.of(container_id)

    def left(self) -> Iterator[Seat]:
        """Seats that no living spare has."""
        for name in os.listdir(self._directory) if os.path.isdir(self._directory) else ():
            path, none = f"{self._directory}/{name}", (FileNotFoundError, BlockingIOError)
            with contextlib.suppress(*none), open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield self.of(name)

    @property
    def _directory(self) -> str:
        return f"{self.exec_root}/waiting"

    def of(self, container_id: str) -> Seat:
        """The seat of an id, taken or not."""
        group = Group(self.hierarchies, f"{self.parent}/{container_id}")
        return Seat(container_id, group, f"{self._directory}/{container_id}")


class Warm(NamedTuple):
    """What a monitor has before it has a container: loop, reaper, seat, and a waiting first process with its
    channel.
    """

    loop: Loop
    children: Children
    seat: Seat
    pid: int
    outer: socket.socket

    def sits_in(self, group: str) -> bool:
        """Whether its seat is that control group."""
        return self.seat.group.path == group


class Rehearsal(NamedTuple):
    """A request and a plan that are parsed once before the real ones."""

    request: bytes
    plan: bytes


def prepare(rehearsal: Rehearsal, seat: Seat) -> Warm:
    """Fork the first process of a container to come; both rehearse."""
    loop = Loop()
    children = Children(loop)
    outer, inner = channel.pair()
    pid = spare.fork_spare((outer, inner), rehearsal.plan, seat.group)
    inner.close()
    parse(rehearsal.request, [])
    return Warm(loop, children, seat, pid, outer)


def main(
    sock: socket.socket, seat: Seat, rehearsal: Rehearsal, become: Callable[[list[int], Warm], NoReturn]
) -> NoReturn:
    """Run in a fork of the launcher: get ready, wait for one request and ``become`` its monitor. Never
    returns.
    """
    try:
        os.setsid()
        syscalls.set_name("onggi-monitor")
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        seat.take()
        warm = prepare(rehearsal, seat)
        sock.send(READY)
        header, fds = protocol.receive_header(sock)
        sock.close()
    except (OnggiError, OSError):
        seat.clear()
        os._exit(1)
    if header is None:
        _end(warm)
    become(fds, warm)


def settle(seat: Seat) -> NoReturn:
    """Settle the seat of a spare that was killed, in a process of its own."""
    seat.settle()
    os._exit(0)


def _end(warm: Warm) -> NoReturn:
    """Nobody will ask."""
    warm.outer.close()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(warm.pid, 0)
    warm.seat.clear()
    os._exit(0)
