"""A first process that waits for its plan: namespaces entered and common file systems made before anybody
asks.

It saves a start what every container has in common. It holds nothing of any container: fresh PID, time,
network, IPC and UTS namespaces, and detached mounts that were never attached anywhere. The mount namespace
is not among them: one copied early would miss what the host mounts later.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from typing import NoReturn

from onggi.kernel import netns, sealed, syscalls
from onggi.kernel import syscalls as k
from onggi.kernel.process import close_all_but
from onggi.kernel.sockets import receive_message, send_message
from onggi.runtime import plan as plans
from onggi.runtime.init import Prepared, Stdio, fork_inside, run
from onggi.runtime.plan import Plan
from onggi.runtime.shelf import Shelf

NAMESPACES = k.CLONE_NEWPID | k.CLONE_NEWTIME | k.CLONE_NEWNET | k.CLONE_NEWIPC | k.CLONE_NEWUTS
_PLAN = b"R"


def suits(plan: Plan) -> bool:
    """Whether a spare may execute this plan: it asks for all that the spare has entered, and joins none of
    it.
    """
    joined = any(join.flag & NAMESPACES for join in plan.joins)
    return plan.unshare & NAMESPACES == NAMESPACES and not joined and not plan.time_offsets


def fork_spare(ends: tuple[socket.socket, socket.socket], sample: bytes) -> int:
    """Fork a waiting first process and return its pid; it ends when the other end of the channel closes.

    It rehearses on ``sample``, the bytes of a request.
    """
    outer, inner = ends
    pid = fork_inside(NAMESPACES, (), ())
    if pid == 0:
        outer.close()
        close_all_but([inner.fileno()])
        _wait(inner, sample)
    return pid


def send_plan(outer: socket.socket, request: int, stdio: Stdio | None) -> None:
    """Give a waiting process the memfd with its request, and its standard streams."""
    send_message(outer, _PLAN, [request, *(stdio or ())])


def _wait(inner: socket.socket, sample: bytes) -> NoReturn:
    shelf = Shelf()
    try:
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        syscalls.unshare(NAMESPACES & ~(k.CLONE_NEWPID | k.CLONE_NEWTIME))
        netns.loopback_up()
        shelf.stock()
        plans.load(json.loads(sample)["plan"])
        plan, stdio = _receive(inner)
    except BaseException:
        os._exit(1)
    run(plan, stdio, inner, _at_once, prepared=Prepared(NAMESPACES, shelf))


def _receive(inner: socket.socket) -> tuple[Plan, Stdio | None]:
    message, fds = receive_message(inner, 1, 4)
    if message != _PLAN:
        os._exit(0)  # whoever forked us ended: nobody will ask
    raw = json.loads(sealed.read(fds[0]))
    return plans.load(raw["plan"]), _stdio(fds[1:])


def _stdio(fds: Sequence[int]) -> Stdio | None:
    return Stdio(*fds) if fds else None


def _at_once() -> None:
    """Nothing stands between preparation and exec."""
