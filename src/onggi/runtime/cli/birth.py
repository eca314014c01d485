"""Making a container's first process and talking with it until it runs, or until it waits to be started.

``create`` leaves that process alone behind, a child of the caller's subreaper: everything is done but the
last exec, imports are closed, rights dropped, descriptors closed; it reads one byte from the exec fifo.
Afterwards result.fifo tells ``start`` what came of the exec: its end is close-on-exec, so EOF means success.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import NamedTuple

from onggi.errors import Conflict, InvalidArgument, KernelError, OnggiError
from onggi.kernel import door, process
from onggi.kernel.cgroups import Group
from onggi.kernel.sockets import receive_message, send_message
from onggi.runtime import channel
from onggi.runtime.cli import console, hooks, report
from onggi.runtime.cli.state import EXEC_FIFO, RESULT_FIFO, Directory, State, public
from onggi.runtime.init import Stages, fork_first, oom_score
from onggi.runtime.plan import Plan

_MOUNTED, _CREATED = b"M", b"C"


class Order(NamedTuple):
    """What to make. ``held`` leaves the process waiting for ``start``; ``console_socket`` gets a tty."""

    directory: Directory
    state: State
    plan: Plan
    hooks: dict[str, tuple[hooks.Hook, ...]]
    group: Group | None
    held: bool
    console_socket: str
    log: report.Log


class Made(NamedTuple):
    """The container's record with its pid, and the terminal's master (-1: none, or sent away)."""

    state: State
    master: int


def make(order: Order) -> Made:
    """Make the first process; on any failure nothing of it is left but the directory."""
    birth = _Birth(order)
    try:
        birth.begin()
        birth.converse()
    except BaseException:
        birth.undo()
        raise
    return Made(birth.state, birth.master)


class _Birth:
    def __init__(self, order: Order) -> None:
        self.order, self.state = order, order.state
        self.master = -1
        self._outer, self._inner = channel.pair()
        self._fifos = (-1, -1)

    def begin(self) -> None:
        """Control group, first process, placement."""
        order = self.order
        if order.group:
            order.group.create()
            for warning in order.group.apply(order.plan.resources):
                order.log.warning(warning)
        if order.held:
            self._fifos = (self._fifo(EXEC_FIFO), self._fifo(RESULT_FIFO))
        door.close()
        stages = Stages(self._mounted, self._failed)
        ends = (self._outer, self._inner)
        pid = fork_first(order.plan, None, ends, self._wait, stages, order.group)
        self._inner.close()
        for fd in self._fifos:
            if fd >= 0:
                os.close(fd)
        self.state = order.state._replace(pid=pid, started=process.start_time(pid), boot=process.boot_id())
        order.directory.save(self.state)
        if order.plan.process.oom_score_adj is not None:
            warning = oom_score(pid, order.plan.process.oom_score_adj)
            if warning:
                order.log.warning(warning)
        if not order.group:
            channel.tell(self._outer, channel.PLACED)

    def _fifo(self, name: str) -> int:
        path = f"{self.order.directory.path}/{name}"
        os.mkfifo(path, 0o600)
        # Read and write: neither opening nor, while we hold it, reading ever sees the other side's absence.
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def converse(self) -> None:
        """Serve the process until it runs or waits; raises its failure."""
        while True:
            kind, payload, fds = channel.receive(self._outer)
            if kind == channel.TERMINAL:
                self._terminal(fds[0])
            elif kind == _MOUNTED:
                state = public(self.state, "creating")
                for name in ("prestart", "createRuntime"):
                    hooks.run(name, self.order.hooks[name], state, self.state.bundle)
                send_message(self._outer, _MOUNTED + str(self.state.pid).encode())
            elif kind == channel.PREPARED:
                channel.tell(self._outer, channel.GO)
            elif kind == channel.FAILED:
                raise report.failed(channel.parse_failure(payload), self.order.plan.process.args[0])
            elif kind == _CREATED or not self.order.held:
                return
            else:
                raise KernelError("create", 3, self.state.id)  # ESRCH: it was killed

    def _terminal(self, master: int) -> None:
        if self.order.console_socket:
            console.send(self.order.console_socket, master)
        else:
            self.master = master

    def undo(self) -> None:
        """End the process and remove its group."""
        if self.state.pid:
            with contextlib.suppress(OSError):
                os.kill(self.state.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(self.state.pid, 0)
        if self.order.group:
            with contextlib.suppress(OnggiError):
                self.order.group.kill()
                self.order.group.remove()

    # -- in the container's first process -----------------------------------------------------------------

    def _mounted(self) -> None:
        send_message(self._inner, _MOUNTED)
        answer, _ = receive_message(self._inner, 32, 1)
        if answer[:1] != _MOUNTED:
            raise Conflict("the runtime ended before the container was made")
        self.state = self.state._replace(pid=int(answer[1:]))
        self._run_hooks("createContainer", "creating", self.state.bundle)

    def _run_hooks(self, name: str, status: str, directory: str) -> None:
        hooks.run(name, self.order.hooks[name], public(self.state, status), directory)

    def _wait(self) -> None:
        if self.order.held:
            self._hold()
        self._run_hooks("startContainer", "created", "")

    def _hold(self) -> None:
        send_message(self._inner, _CREATED)
        self._inner.close()
        # A created container may wait for days beside others.
        process.close_all_but([*range(3, 3 + self.order.plan.preserve_fds), *self._fifos])
        if os.read(self._fifos[0], 1) != b"1":
            raise InvalidArgument("the exec fifo was closed")

    def _failed(self, failure: channel.Failure) -> None:
        if self._inner.fileno() >= 0:
            channel.send_failure(self._inner, failure)
        else:
            os.write(self._fifos[1], json.dumps(failure)[:4000].encode())


def release(directory: Directory) -> channel.Failure | None:
    """Let a created container run; what hindered it, or None. Raises Conflict if it no longer waits."""
    try:
        go = os.open(f"{directory.path}/{EXEC_FIFO}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # ENXIO: nobody reads
        raise Conflict("cannot start a container that has stopped") from None
    result = os.open(f"{directory.path}/{RESULT_FIFO}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(result, True)
    os.write(go, b"1")
    os.close(go)
    text = os.read(result, 8192)
    os.close(result)
    for name in (EXEC_FIFO, RESULT_FIFO):
        os.unlink(f"{directory.path}/{name}")
    return channel.parse_failure(text) if text else None
