"""A first process that waits for its plan: namespaces entered and common file systems made before anybody
asks.

It saves a start what every container has in common. It holds nothing of any container: fresh PID, time,
network, IPC and UTS namespaces, a control group without limits, and detached mounts that were never attached
anywhere. The mount namespace is not among them: one copied early would miss what the host mounts later.
"""

from __future__ import annotations

import json
import os
import socket
from typing import NoReturn

from onggi.kernel import netns, sealed, syscalls
from onggi.kernel import syscalls as k
from onggi.kernel.cgroups import Group
from onggi.kernel.process import close_all_but
from onggi.kernel.sockets import receive_message, send_message
from onggi.runtime import channel
from onggi.runtime import plan as plans
from onggi.runtime.init import Prepared, Stdio, fork_inside, run
from onggi.runtime.plan import Plan, Shape
from onggi.runtime.process import compile_process
from onggi.runtime.shelf import Shelf

NAMESPACES = k.CLONE_NEWPID | k.CLONE_NEWTIME | k.CLONE_NEWNET | k.CLONE_NEWIPC | k.CLONE_NEWUTS
_PLAN = b"R"


def suits(shape: Shape) -> bool:
    """Whether a spare may execute a plan: it asks for all that a spare has entered, and joins none of it."""
    joined = any(join.flag & NAMESPACES for join in shape.joins)
    return shape.unshare & NAMESPACES == NAMESPACES and not joined and not shape.time_offsets


def sample() -> bytes:
    """A plan like those to come, for spares to rehearse on: what is read once is read fast the second time.

    A fork shares its parent's memory until it writes, and Python writes to what it reads (reference counts):
    the first parse after a fork is ten times slower than the next (seen).
    """
    ops = (
        plans.Filesystem("/proc", "proc", "proc", (("mode", "755"),), 0, 0, False, True),
        plans.Bind("/etc/hosts", 0, 0, 0, 0, 0, 0),
        plans.Symlink("/dev/fd", "/proc/self/fd"),
        plans.Device("/dev/null", "c", 1, 3, 0o666, 0, 0),
        plans.HidePath("/proc/kcore"),
        plans.ReadOnlyPath("/proc/sys"),
        plans.Hostname("sample"),
    )
    process = compile_process({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"]}, 0, ("A" * 16384, 0))
    overlay = plans.Overlay("/", ("/lower",), "/upper", "/work", (), False)
    root = plans.Root("/", "", (overlay,))
    sources = (plans.Source("/etc/hosts", True),)
    plan = Plan(0, (), (), root, sources, ops, process, "/sample", {}, False)
    return json.dumps(plans.dump(plan)).encode()


def fork_spare(ends: tuple[socket.socket, socket.socket], rehearsal: bytes, group: Group) -> int:
    """Fork a waiting first process, which rehearses on a ``sample``; returns its pid.

    It is born in the v2 ``group``; v1's it enters with its plan, so that what it uses until then is not the
    container's.

    It ends when the other end of the channel closes.
    """
    outer, inner = ends
    pid = fork_inside(Shape(NAMESPACES, (), ()), group)
    if pid == 0:
        outer.close()
        close_all_but([inner.fileno()])
        _wait(inner, rehearsal, group)
    return pid


def send_plan(outer: socket.socket, plan: int, stdio: Stdio | None) -> None:
    """Give a waiting process the memfd with its plan, and its standard streams."""
    send_message(outer, _PLAN, [plan, *(stdio or ())])


def fork_reader(
    shape: Shape, plan: int, stdio: Stdio | None, ends: tuple[socket.socket, socket.socket], group: Group
) -> int:
    """Fork a first process into ``group`` that reads its plan from a memfd; returns its pid."""
    outer, inner = ends
    pid = fork_inside(shape, group)
    if pid == 0:
        outer.close()
        close_all_but([inner.fileno(), plan, *(stdio or ())])
        _execute(inner, plan, stdio, Prepared(0, Shelf(), group))
    return pid


def _wait(inner: socket.socket, rehearsal: bytes, group: Group) -> NoReturn:
    shelf = Shelf()
    try:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.unshare(NAMESPACES & ~(k.CLONE_NEWPID | k.CLONE_NEWTIME))
        netns.loopback_up()
        shelf.stock()
        plans.load(json.loads(rehearsal))
        message, fds = receive_message(inner, 1, 4)
    except BaseException:
        os._exit(1)
    if message != _PLAN:
        os._exit(0)  # whoever forked us ended: nobody will ask
    _execute(inner, fds[0], Stdio(*fds[1:]) if fds[1:] else None, Prepared(NAMESPACES, shelf, group, True))


def _execute(inner: socket.socket, plan_fd: int, stdio: Stdio | None, prepared: Prepared) -> NoReturn:
    try:
        plan = plans.load(json.loads(sealed.read(plan_fd)))
    except BaseException as error:
        channel.send_failure(inner, channel.failure_of(error, "plan"))
        os._exit(1)
    run(plan, stdio, inner, _at_once, prepared=prepared)


def _at_once() -> None:
    """Nothing stands between preparation and exec."""
