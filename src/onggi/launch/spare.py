"""A monitor forked before it is needed, with its first process already waiting in namespaces of its own.

The launcher keeps a few; a request is passed on to one as it came, and the pool is filled again while that
container starts. A spare knows nothing of any container until then. It ends when the launcher's end of its
socket closes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from onggi.errors import OnggiError
from onggi.kernel import syscalls
from onggi.launch import protocol
from onggi.launch.children import Children
from onggi.launch.loop import Loop
from onggi.launch.request import parse
from onggi.runtime import channel, spare

READY = b"1"


class Warm(NamedTuple):
    """What a monitor has before it has a container: loop, reaper, and a waiting first process with its
    channel.
    """

    loop: Loop
    children: Children
    pid: int
    outer: socket.socket


class Rehearsal(NamedTuple):
    """A request and a plan that are parsed once before the real ones."""

    request: bytes
    plan: bytes


def prepare(rehearsal: Rehearsal) -> Warm:
    """Fork the first process of a container to come; both rehearse."""
    loop = Loop()
    children = Children(loop)
    outer, inner = channel.pair()
    pid = spare.fork_spare((outer, inner), rehearsal.plan)
    inner.close()
    parse(rehearsal.request, [])
    return Warm(loop, children, pid, outer)


def main(
    sock: socket.socket, rehearsal: Rehearsal, become: Callable[[list[int], Warm], NoReturn]
) -> NoReturn:
    """Run in a fork of the launcher: get ready, wait for one request and ``become`` its monitor. Never
    returns.
    """
    try:
        os.setsid()
        syscalls.set_name("onggi-monitor")
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        warm = prepare(rehearsal)
        sock.send(READY)
        header, fds = protocol.receive_header(sock)
        sock.close()
    except (OnggiError, OSError):
        os._exit(1)
    if header is None:
        os._exit(0)
    become(fds, warm)
