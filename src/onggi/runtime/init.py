"""The first process of a container: executes the plan and becomes the user's program.

It starts as a fork, already in the new PID namespace, still in the engine's other namespaces, and waits to
be placed in its cgroups. The order below is the design; each comment says what breaks when it changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from onggi.errors import KernelError, OnggiError
from onggi.kernel import mounts, syscalls, terminal
from onggi.kernel.cgroups import Group
from onggi.kernel.files import read_small
from onggi.kernel.sockets import send_message
from onggi.runtime import channel, identity, reaper, scheduling
from onggi.runtime.plan import Plan, Process, Shape, shape_of
from onggi.runtime.rootfs import Builder
from onggi.runtime.shelf import Shelf
from onggi.runtime.trees import clone_sources


class Stdio(NamedTuple):
    """Descriptors that become 0, 1 and 2; unused for a terminal."""

    stdin: int
    stdout: int
    stderr: int


class Stages(NamedTuple):
    """What a caller adds that does not stay beside the container (the OCI command): steps run in the child.

    ``mounted`` runs before the root changes; ``failed`` is told of a failure; the caller's death is no reason
    to end.
    """

    mounted: Callable[[], None]
    failed: Callable[[channel.Failure], None]


class Prepared(NamedTuple):
    """What a first process has done before it got its plan: namespaces entered, mounts on a shelf.

    ``group`` is the one that it was forked for; without it somebody outside places it. If that group's
    ``limits_follow``, it is told when they are in force.
    """

    entered: int
    shelf: Shelf
    group: Group | None = None
    limits_follow: bool = False


def fork_first(
    plan: Plan,
    stdio: Stdio | None,
    ends: tuple[socket.socket, socket.socket],
    wait: Callable[[], None],
    stages: Stages | None = None,
    group: Group | None = None,
) -> int:
    """Fork the first process into its PID and time namespaces and return its pid as seen here.

    It is born in ``group``, or waits to be placed.

    The caller's own children stay outside: it returns to its namespaces, or every later fork would land in
    the container, and fail once its first process is gone. ``wait`` runs in the child as the last thing
    before exec.
    """
    outer, inner = ends
    pid = fork_inside(shape_of(plan), group)
    if pid == 0:
        # A copy kept in here would hide the death of the other side.
        outer.close()
        run(plan, stdio, inner, wait, stages, Prepared(0, Shelf(), group))
    return pid


def fork_inside(shape: Shape, group: Group | None) -> int:
    """Fork a child into new or joined PID and time namespaces, and come back; 0 in the child, which has a
    ``group`` to enter, as fork(2).
    """
    with contextlib.ExitStack() as stack:
        _enter_for_children(shape, stack)
        pid = group.fork() if group else os.fork()
        if pid == 0:
            identity.leave_parents_loop()
            stack.pop_all()  # the way back is the parent's
    return pid


def _enter_for_children(shape: Shape, stack: contextlib.ExitStack) -> None:
    fresh = shape.unshare & (syscalls.CLONE_NEWPID | syscalls.CLONE_NEWTIME)
    joined = [join for join in shape.joins if join.flag in (syscalls.CLONE_NEWPID, syscalls.CLONE_NEWTIME)]
    for flag, name in ((syscalls.CLONE_NEWPID, "pid"), (syscalls.CLONE_NEWTIME, "time")):
        if fresh & flag or any(join.flag == flag for join in joined):
            own = os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(_return_to, own, flag)
    if fresh:
        syscalls.unshare(fresh)
    for clock, seconds, nanoseconds in shape.time_offsets:
        fd = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, f"{clock} {seconds} {nanoseconds}".encode())
        os.close(fd)
    for join in joined:
        _join(join.path, join.flag)


def _return_to(fd: int, flag: int) -> None:
    syscalls.setns(fd, flag)
    os.close(fd)


def _join(path: str, flag: int) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(fd, flag)
    finally:
        os.close(fd)


def run(
    plan: Plan,
    stdio: Stdio | None,
    inner: socket.socket,
    wait: Callable[[], None],
    stages: Stages | None = None,
    prepared: Prepared | None = None,
) -> NoReturn:
    """Everything in the child; never returns, never prints."""
    steps = _Steps(plan, stdio, inner, stages, prepared)
    try:
        steps.prepare()
        send_message(inner, channel.PREPARED)
        channel.expect(inner, channel.GO)
        steps.execute(wait)
    except BaseException as error:
        failure = channel.failure_of(error, steps.step)
        with contextlib.suppress(OSError):
            if stages:
                stages.failed(failure)
            else:
                channel.send_failure(inner, failure)
    os._exit(1)


class _Steps:
    def __init__(
        self,
        plan: Plan,
        stdio: Stdio | None,
        inner: socket.socket,
        stages: Stages | None,
        prepared: Prepared | None,
    ) -> None:
        self.plan, self.stdio, self.inner, self.stages = plan, stdio, inner, stages
        self.prepared = prepared or Prepared(0, Shelf())
        self._step = "placement"
        self.builder: Builder | None = None
        self.slave = -1

    @property
    def step(self) -> str:
        return self.builder.step if self.builder else self._step

    def prepare(self) -> None:
        """All that happens before the network is wired."""
        plan = self.plan
        # Placed first: the cgroup namespace takes its root from where we are now.
        if self.prepared.group:
            self.prepared.group.enter()
        else:
            channel.expect(self.inner, channel.PLACED)
        # From here on nobody without more rights may look into this process.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        os.setsid()
        if plan.keyring:
            # Keys of the engine, and of other containers, are not for this one.
            with contextlib.suppress(KernelError):
                syscalls.join_session_keyring()
        self._step = "bind source"
        sources = clone_sources(plan.sources, plan.root.overlay_append)
        self._step = "namespaces"
        self._enter_namespaces()
        if self.prepared.limits_follow:
            # From here on it uses memory and devices.
            self._step = "limits"
            channel.expect(self.inner, channel.LIMITED)
        builder = self.builder = Builder(sources, self._console, self.prepared.shelf)
        builder.build(plan.root, plan.ops)
        self.prepared.shelf.clear()
        if self.stages:
            builder.step = "hooks"
            self.stages.mounted()
        builder.enter(plan.root.propagation, pivot=plan.pivot)
        self._label(builder.proc_fd)
        builder.step = "stdio"
        self._connect_stdio()

    def _enter_namespaces(self) -> None:
        others = ~(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWTIME | syscalls.CLONE_NEWNS)
        mount_join = [join for join in self.plan.joins if join.flag == syscalls.CLONE_NEWNS]
        for join in self.plan.joins:
            if join.flag & others:
                _join(join.path, join.flag)
        syscalls.unshare(self.plan.unshare & others & ~self.prepared.entered)
        if mount_join:
            _join(mount_join[0].path, syscalls.CLONE_NEWNS)
        else:
            mounts.enter_private()

    def _console(self, master: int, slave: int) -> None:
        send_message(self.inner, channel.TERMINAL, [master])
        os.close(master)
        self.slave = slave

    def _label(self, proc_fd: int) -> None:
        process = self.plan.process
        for name, label in (
            ("apparmor/exec", process.apparmor and f"exec {process.apparmor}"),
            ("exec", process.selinux),
        ):
            if label:
                self.builder.step = "label"  # type: ignore[union-attr]
                fd = syscalls.openat2(proc_fd, f"self/attr/{name}", os.O_WRONLY, 0, syscalls.RESOLVE_BENEATH)
                os.write(fd, label.encode())
                os.close(fd)

    def _connect_stdio(self) -> None:
        stdio = self.stdio
        if self.slave >= 0:
            terminal.make_controlling(self.slave)
            stdio = Stdio(self.slave, self.slave, self.slave)
            os.fchown(self.slave, self.plan.process.uid, -1)
        connect(stdio, self.plan.preserve_fds)

    def execute(self, wait: Callable[[], None]) -> None:
        """Give up every right the program shall not have, and become it."""
        assert self.builder is not None
        process = self.plan.process
        self.builder.step = "rlimits"
        identity.set_rlimits(process.rlimits)
        scheduling.apply(process)
        # Before ids change root may enter a directory the user cannot; afterwards the user may be the only
        # one who can.
        self.builder.step = "cwd"
        _enter_early(process.cwd)
        self.builder.step = "user"
        identity.become(process, (lambda: None) if self.stages else self._die_with_parent)
        self.builder.step = "cwd"
        identity.enter_directory(process.cwd)
        self.builder.step = "exec"
        if self.plan.init:
            reaper.stay_as_init(self.inner)
        become_program(process, wait)

    def _die_with_parent(self) -> None:
        # Only now: setresuid(2) clears it. getppid() is 0 in a new PID namespace, so the race of a parent
        # that died
        # just before is closed by the channel: its other end is then gone.
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(BlockingIOError):
            if not self.inner.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                os._exit(1)


def connect(stdio: Stdio | None, preserve: int = 0) -> None:
    """Make ``stdio`` the standard streams and close everything else at exec but ``preserve`` descriptors."""
    if stdio is not None:
        copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in stdio]
        for number, fd in enumerate(copies):
            os.dup2(fd, number)
            os.close(fd)
    syscalls.close_range(3 + preserve, flags=syscalls.CLOSE_RANGE_CLOEXEC)


def become_program(process: Process, wait: Callable[[], None] = lambda: None) -> NoReturn:
    """exec; raises KernelError whose step is ``path`` where PATH was searched in vain, else ``exec``."""
    program = identity.find_program(process.args[0], process.env)
    env = dict(entry.partition("=")[::2] for entry in process.env)
    if not env.get("HOME"):
        env["HOME"] = identity.home_of(process.uid)
    os.umask(process.umask)
    wait()
    identity.reset_signals()
    try:
        os.execve(program, process.args, env)
    except OSError as error:
        raise OSError(error.errno, error.strerror, process.args[0]) from None


def _enter_early(path: str) -> None:
    with contextlib.suppress(OnggiError):
        identity.enter_directory(path)


def oom_score(pid: int, value: int) -> str:
    """Set a process's oom_score_adj from outside; returns a warning where the machine does not allow it."""
    path = f"/proc/{pid}/oom_score_adj"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)
    except OSError:
        current = read_small(path).decode().strip()
        return f"oom_score_adj {value} needs CAP_SYS_RESOURCE; it stays at {current}"
    return ""
