"""Entering a running container: the process of ``exec``.

Everything that needs rights happens outside the container's PID namespace; what becomes visible inside has
the container's own rights, no host descriptor, and nothing to steal (rule R5, CVE-2016-9962). Where a
container may ptrace, a middle process does that work and forks into the PID namespace at the end; elsewhere
one fork does, 1.5 ms cheaper.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from onggi.kernel import syscalls, terminal
from onggi.kernel.cgroups import Group
from onggi.kernel.paths import open_root
from onggi.kernel.process import close_all_but
from onggi.kernel.sockets import send_message
from onggi.runtime import channel, identity, scheduling
from onggi.runtime.init import Stdio, become_program, connect
from onggi.runtime.plan import Process

_NAMESPACES = (
    ("mnt", syscalls.CLONE_NEWNS),
    ("uts", syscalls.CLONE_NEWUTS),
    ("ipc", syscalls.CLONE_NEWIPC),
    ("net", syscalls.CLONE_NEWNET),
    ("cgroup", syscalls.CLONE_NEWCGROUP),
    ("time", syscalls.CLONE_NEWTIME),
)


class Target(NamedTuple):
    """A running container: a pidfd of its first process and whether its processes may ptrace
    (CAP_SYS_PTRACE). ``preserve_fds`` descriptors from 3 on are inherited. Who joins is born in ``group``, or
    without one waits to be placed.
    """

    pidfd: int
    pid: int
    may_trace: bool
    preserve_fds: int = 0
    group: Group | None = None


def namespaces_of(pid: int) -> int:
    """The setns(2) flags of the namespaces, apart from pid, in which a process differs from us."""
    flags = 0
    for name, flag in _NAMESPACES:
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"):
                flags |= flag
    return flags


def fork_joined(
    load: Callable[[], Process],
    target: Target,
    stdio: Stdio | None,
    ends: tuple[socket.socket, socket.socket],
    size: tuple[int, int],
) -> int:
    """Fork the process that will join; returns its pid, or the middle's, which then reports ``I`` + the final
    pid.

    ``load`` is called in the child, so that the caller need not read what only the program needs. The
    child's cgroup is the container's before it does anything.
    """
    flags = namespaces_of(target.pid)
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not target.may_trace:
            syscalls.setns(target.pidfd, syscalls.CLONE_NEWPID)
        pid = target.group.fork() if target.group else os.fork()
        if pid == 0:
            identity.leave_parents_loop()
            ends[0].close()
            _run(load, target, stdio, ends[1], (flags, size))
    finally:
        if not target.may_trace:
            syscalls.setns(own, syscalls.CLONE_NEWPID)
        os.close(own)
    return pid


def _run(
    load: Callable[[], Process],
    target: Target,
    stdio: Stdio | None,
    inner: socket.socket,
    where: tuple[int, tuple[int, int]],
) -> NoReturn:
    step = ["placement"]
    try:
        if target.group:
            target.group.enter()
        else:
            channel.expect(inner, channel.PLACED)
        process = load()
        _dress(process, target, stdio, inner, where, step)
        if target.may_trace:
            _fork_inside(inner)
        os.setsid()
        if process.terminal:
            terminal.make_controlling(0)
        step[0] = "exec"
        become_program(process)
    except BaseException as error:
        with contextlib.suppress(OSError):
            channel.send_failure(inner, channel.failure_of(error, step[0]))
    os._exit(1)


def _dress(
    process: Process,
    target: Target,
    stdio: Stdio | None,
    inner: socket.socket,
    where: tuple[int, tuple[int, int]],
    step: list[str],
) -> None:
    """Namespaces, terminal, descriptors, ids, capabilities and filter, in that order."""
    flags, size = where
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    step[0] = "namespaces"
    if target.may_trace:
        flags |= syscalls.CLONE_NEWPID
    if flags:
        syscalls.setns(target.pidfd, flags)
    step[0] = "stdio"
    if process.terminal:
        stdio = _terminal(inner, size, process.uid)
    connect(stdio, target.preserve_fds)
    # CVE-2016-9962: what becomes visible inside must hold no descriptor of the host, close-on-exec or not.
    close_all_but([inner.fileno(), *range(3, 3 + target.preserve_fds)])
    step[0] = "rlimits"
    identity.set_rlimits(process.rlimits)
    scheduling.apply(process)
    step[0] = "cwd"
    with contextlib.suppress(Exception):
        identity.enter_directory(process.cwd)
    step[0] = "user"
    identity.become(process)
    step[0] = "cwd"
    identity.enter_directory(process.cwd)


def _terminal(inner: socket.socket, size: tuple[int, int], uid: int) -> Stdio:
    root = open_root("/")
    master, slave = terminal.open_pair(root)
    os.close(root)
    if any(size):
        terminal.set_size(master, *size)
    send_message(inner, channel.TERMINAL, [master])
    os.close(master)
    os.fchown(slave, uid, -1)
    return Stdio(slave, slave, slave)


def _fork_inside(inner: socket.socket) -> None:
    """Fork into the PID namespace; the middle reports the pid and ends, the caller's subreaper inherits the
    rest.
    """
    pid = os.fork()
    if pid:
        send_message(inner, channel.PID + str(pid).encode())
        os._exit(0)
