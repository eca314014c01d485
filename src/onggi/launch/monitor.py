"""The monitor: the fork that stays beside a container and owns its life, streams, log and exit code.

It serves verbs on its socket, reaps, and writes ``exit.json`` before it tells anybody. The container does
not outlive it: the first process has PDEATHSIG, and whoever notices a lost monitor kills the cgroup.

    <exec-root>/containers/<id>/<n>/monitor.sock   SEQPACKET, JSON objects (see protocol)
    <exec-root>/containers/<id>/<n>/cgroup         a link whose text is the path of the control group; the id
                                                   that it ends with is left out
    <exec-root>/containers/<id>/<n>/exit.json      how the run ended; removed by onggid when committed
    <exec-root>/containers/<id>/<n>/exec-<id>.json how an exec ended
    <exec-root>/containers/<id>/<n>/monitor.log    the monitor's own errors
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from typing import Any, NoReturn

from onggi.errors import OnggiError
from onggi.kernel import sealed, syscalls
from onggi.kernel.cgroups import Group, OomWatch
from onggi.kernel.files import write_atomic
from onggi.kernel.process import boot_id
from onggi.launch import verbs
from onggi.launch.children import Children
from onggi.launch.execs import Execs, wish_of
from onggi.launch.loop import IN, Loop
from onggi.launch.peers import Peers
from onggi.launch.protocol import MONITOR_PROTOCOL
from onggi.launch.request import RunRequest, parse
from onggi.launch.spare import Seats, Warm
from onggi.launch.stdio import Ends, open_ends
from onggi.launch.streams import Streams
from onggi.logs.writer import open_writer
from onggi.runtime import channel, spare
from onggi.runtime.init import oom_score
from onggi.runtime.join import Target

Json = Any
_DRAIN_S = 2.0


def main(fds: list[int], seats: Seats, warm: Warm | None = None) -> NoReturn:
    """Run in a fork of the launcher, fresh or ``warm``; never returns.

    ``fds`` are the request, the plan, the engine's socket, then clients.
    """
    request_fd, plan_fd, control_fd, *clients = fds
    control = socket.socket(fileno=control_fd)
    log_dir = ""
    try:
        if warm is None:
            os.setsid()
            syscalls.set_name("onggi-monitor")
            syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        request = parse(sealed.read(request_fd), clients)
        log_dir = request.run_dir
        ends = open_ends(tty=request.terminal, stdin=request.stdin != "null")
        if fed := warm is not None and _feed(warm, request, plan_fd, ends):
            ends.close()
        monitor = Monitor(request, control, seats, warm, ends)
        monitor.run(plan_fd, fed)
    except BaseException as error:
        report_crash(log_dir, error)
        if warm is not None:
            warm.seat.clear()  # nobody else knows of it any more
        os._exit(1)
    os._exit(0)


def _feed(warm: Warm, request: RunRequest, plan_fd: int, ends: Ends) -> bool:
    """Give the plan to the spare's first process; False if that is another's, unfit or dead.

    First of all, for that process has the longest way to go. It writes nothing before limits are in force,
    and those come when the monitor has its name. An engine that recovers from a kill empties the groups of
    containers that did not get to run, and one of them may be the seat of a spare.
    """
    if not warm.sits_in(request.cgroup) or not spare.suits(request.shape):
        return False
    try:
        spare.send_plan(warm.outer, plan_fd, ends.stdio)
    except (BrokenPipeError, ConnectionResetError):
        warm.seat.group.remove()  # Linux kills who is forked into a group that was killed, however long ago
        return False
    return True


def report_crash(directory: str, error: BaseException) -> None:
    """Note an unexpected error and where it came from; opens no source file (the door is closed)."""
    lines, trace = [f"{type(error).__name__}: {error}"], error.__traceback__
    while trace:
        lines.append(f"  {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    with contextlib.suppress(OSError):
        fd = os.open(f"{directory}/monitor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(fd, ("\n".join(lines) + "\n").encode())


class Monitor:
    """One container's life, from fork to exit record."""

    def __init__(
        self, request: RunRequest, control: socket.socket, seats: Seats, warm: Warm | None, ends: Ends
    ) -> None:
        self.request, self._warm, self._ends = request, warm, ends
        self.loop = warm.loop if warm else Loop()
        self.children = warm.children if warm else Children(self.loop)
        self._seated = bool(warm and warm.sits_in(request.cgroup))
        self._seats = seats
        self.group: Group = Group(seats.hierarchies, request.cgroup)
        self.log = open_writer(
            request.log["driver"],
            request.log["directory"],
            request.log["options"],
            request.log.get("attributes"),
            request.log.get("source"),
        )
        self.log.follow(self.loop.after)
        once = request.stdin == "once" and not request.terminal
        self.streams = Streams(self.loop, self.log, once, self._changed)
        self.streams.on_detach = lambda name: self.peers.broadcast({"event": "detached", "name": name})
        self.execs: Execs = Execs(self.loop, self.children, self._target, self._record_exec)
        self.peers = Peers(self.loop, request.run_dir, lambda *asked: verbs.serve(self, *asked))
        self.peers.add(control)
        self.pid, self.started_ns = 0, 0
        self.pidfd: int = -1
        self._outer: socket.socket
        self.paused = self.reported = self._prepared = self._gone = False
        self.warnings: list[str] = []
        self._trace: list[tuple[str, int]] = []
        self._failure: channel.Failure | None = None
        self._exit: tuple[int, int] | None = None

    def run(self, plan_fd: int, fed: bool) -> None:
        """Start the container, whose first process may be ``fed`` already, and serve until it has ended and
        every client has its bytes.
        """
        try:
            self._start(plan_fd, fed)
        except (OnggiError, OSError) as error:
            self._failure = channel.failure_of(error, "start")
            self._fail()
            return
        self.loop.run()

    # -- start ---------------------------------------------------------------------------------------------

    def _start(self, plan_fd: int, fed: bool) -> None:
        self._mark("monitor")
        if self._warm and fed:
            self.pid, self._outer = self._warm.pid, self._warm.outer  # a failure from here on ends it
        # Short, for the inode itself: a file system gives a longer text a block, and waits when it is freed.
        os.symlink(self.group.path.removesuffix(self.request.id), f"{self.request.run_dir}/cgroup")
        self._open_streams()
        if fed:
            self._limit()  # meanwhile it reads its plan
            channel.tell(self._outer, channel.LIMITED)
        else:
            self._leave_warm()
            self.group.create()
            self._limit()
            self._outer, inner = channel.pair()
            ends_of_channel = (self._outer, inner)
            stdio = self._ends.stdio
            self.pid = spare.fork_reader(self.request.shape, plan_fd, stdio, ends_of_channel, self.group)
            inner.close()
            self._ends.close()
        os.close(plan_fd)
        self._release()

    def _open_streams(self) -> None:
        self._ends.give(self.streams)
        for client in self.request.attach:
            early = bytes.fromhex(client.arguments.get("early") or "")
            self.streams.attach(client.fd, wish_of(client.arguments), early)

    def _leave_warm(self) -> None:
        """The spare's first process, if there is one, is of no use for this plan: it ends as its channel
        closes.
        """
        if self._warm is None:
            self._seats.of(self.request.id).settle()
        else:
            if self._seated:
                self.children.expect(self._warm.pid)
            else:
                self.children.expect(self._warm.pid, self._warm.seat.group_left)
            self._warm.outer.close()

    def _limit(self) -> None:
        self.warnings += self.group.apply(self.request.resources)
        self.oom = OomWatch(self.group)
        if self.oom.fileno() >= 0:
            self.loop.watch(self.oom.fileno(), IN, lambda _: self._oom_event())
        self._mark("cgroup")

    def _release(self) -> None:
        """Follow the first process and, if nothing is to be wired, let it go on."""
        self.pidfd = os.pidfd_open(self.pid)
        self.children.expect(self.pid, self._ended)
        adjustment = self.request.oom_score_adj
        if adjustment is not None:
            warning = oom_score(self.pid, adjustment)
            self.warnings += [warning] if warning else []
        self.loop.watch(self._outer.fileno(), IN, self._message)
        if self.request.auto_go:
            self.go()
        self._mark("fork")

    @property
    def lives(self) -> bool:
        """Whether ``pid`` is the container's program: not yet in the engine's tree, not reaped already."""
        return bool(self.started_ns) and self._exit is None

    def go(self) -> None:
        """Let a prepared container run."""
        self._gone = True
        channel.tell(self._outer, channel.GO)

    def _message(self, _: int) -> None:
        kind, payload, fds = channel.receive(self._outer)
        if kind == channel.TERMINAL:
            self.streams.set_terminal(fds[0])
        elif kind == channel.PREPARED:
            self._prepared = True
            self._mark("prepared")
            if not self.request.auto_go:
                self._tell_prepared()
        elif kind == channel.FAILED:
            self._failure = channel.parse_failure(payload)
        else:
            self._decided()

    def _tell_prepared(self) -> None:
        netns = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.peers.broadcast({"event": "prepared", "pid": self.pid}, [self.pidfd, netns])
        os.close(netns)

    def _decided(self) -> None:
        """EOF on the channel: the program runs, unless a failure came before."""
        self.loop.forget(self._outer.fileno())
        self._outer.close()
        if not self._prepared and not self._failure:
            words = "the first process was killed before it could start"
            self._failure = channel.Failure("start", "", 0, "", words)
        if self._failure:
            return
        self.started_ns = time.time_ns()
        self._mark("exec")
        found = {"warnings": self.warnings, "trace": self._trace}
        self.peers.broadcast({"event": "started", **self.state(), **found})
        self._settle()
        if self._warm:
            self._warm.seat.leave()

    def _mark(self, step: str) -> None:
        self._trace.append((step, time.clock_gettime_ns(time.CLOCK_MONOTONIC)))

    # -- serve ---------------------------------------------------------------------------------------------

    def state(self) -> Json:
        """What this monitor says about its container."""
        return {
            "protocol": MONITOR_PROTOCOL,
            "run": self.request.number,
            "pid": self.pid,
            "started_ns": self.started_ns,
            "status": "paused" if self.paused else "running",
            "wired": self._gone,
            "execs": {name: process.pid for name, process in self.execs.running.items()},
            "ended_execs": self.execs.ended,
        }

    def _target(self) -> Target:
        return Target(self.pidfd, self.pid, self.request.may_trace, group=self.group)

    def _oom_event(self) -> None:
        self.oom.count()
        if not self.reported:
            self.peers.broadcast({"event": "oom"})

    def _record_exec(self, exec_id: str, code: int) -> None:
        payload = json.dumps({"id": exec_id, "code": code, "finished_ns": time.time_ns()}).encode()
        with contextlib.suppress(OSError):
            write_atomic(f"{self.request.run_dir}/exec-{exec_id}.json", payload, durable=False)
        self.peers.broadcast({"event": "exec_exited", "id": exec_id, "code": code})

    # -- end -----------------------------------------------------------------------------------------------

    def _ended(self, code: int, number: int) -> None:
        self._exit = (code, number)
        # What the failure says is still in the channel when the process is reaped first.
        while self._outer.fileno() >= 0:
            self._message(IN)
        if self._failure:
            self._fail()
            return
        with contextlib.suppress(OnggiError):
            self.group.kill()  # with the PID namespace of somebody else, processes may be left
        self.streams.drain()
        if not self._settle():
            self.loop.after(_DRAIN_S, self._give_up)

    def _changed(self) -> None:
        self._settle()

    def _settle(self) -> bool:
        """Report once output is complete; end once every client has its bytes."""
        if self._exit and self.started_ns and not self.reported and self.streams.ended():
            self._report()
        if self.reported and not self.streams.clients:
            self.peers.broadcast({"event": "flushed"})
            self.loop.stop()
        return self.reported

    def _give_up(self) -> None:
        if not self.reported:
            self._report()
            self._settle()

    def _report(self) -> None:
        assert self._exit
        self.reported = True
        self.streams.finish()
        self.log.close()
        record = self._record(*self._exit)
        write_atomic(f"{self.request.run_dir}/exit.json", json.dumps(record).encode(), durable=False)
        self._remove_group()
        self.peers.broadcast({"event": "exited", "record": record})

    def _record(self, code: int, number: int) -> Json:
        return {
            "run": self.request.number,
            "code": code,
            "signal": number,
            "oom": self.oom.count() > 0,
            "started_ns": self.started_ns,
            "finished_ns": time.time_ns(),
            "error": "",
            "log_errors": self.log.errors,
            "boot_id": boot_id(),
        }

    def _remove_group(self) -> None:
        self.loop.forget(self.oom.fileno())
        self.oom.close()
        try:
            self.group.kill()
            self.group.remove()
        except OnggiError as error:
            report_crash(self.request.run_dir, error)

    def _fail(self) -> None:
        """The program never ran: clean up, then say why."""
        failure = self._failure
        assert failure
        if self.pid and self._exit is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # our child, not reaped yet: the number is still its own
            os.waitpid(self.pid, 0)
        self.streams.finish()
        self.log.close()
        with contextlib.suppress(OnggiError):
            self.group.kill()
            self.group.remove()
        self.peers.broadcast({"event": "failed", "failure": failure._asdict()})
        if self._warm:
            self._warm.seat.leave()
        self.loop.stop()
