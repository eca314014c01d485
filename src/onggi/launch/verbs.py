"""What a monitor can be asked. Each verb exists for ever; arguments and answers are JSON objects (see
protocol).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from onggi.errors import Conflict, NotFound, Unsupported
from onggi.kernel import terminal
from onggi.kernel.process import pidfd_send_signal
from onggi.launch.execs import wish_of

if TYPE_CHECKING:
    from onggi.launch.monitor import Monitor

Json = Any
Answer = Callable[[Json, BaseException | None], None]


def serve(monitor: Monitor, message: Json, fds: list[int], answer: Answer) -> None:
    """Carry out one request; the answer may come later."""
    verb, arguments = message.get("verb", ""), message.get("args") or {}
    if verb in _AT_ONCE:
        answer(_AT_ONCE[verb](monitor, arguments, fds) or {}, None)
    elif verb in _FILES:
        _open(monitor, *_FILES[verb], answer)
    elif verb == "exec":
        _exec(monitor, arguments, fds, answer)
    elif verb == "exec_wait":
        monitor.execs.wait(arguments["id"], answer)
    else:
        for fd in fds:
            os.close(fd)
        raise Unsupported(f"this monitor does not know the verb {verb!r}")


def _kill(monitor: Monitor, _: Json, __: list[int]) -> None:
    monitor.group.kill(wait=False)
    monitor.paused = False


def _pause(monitor: Monitor, _: Json, __: list[int]) -> None:
    if monitor.paused:
        raise Conflict(f"Container {monitor.request.id} is already paused")
    monitor.group.freeze()
    monitor.paused = True


def _resume(monitor: Monitor, _: Json, __: list[int]) -> None:
    if not monitor.paused:
        raise Conflict(f"Container {monitor.request.id} is not paused")
    monitor.group.thaw()
    monitor.paused = False


def _resize(monitor: Monitor, arguments: Json, _: list[int]) -> None:
    if monitor.request.terminal and monitor.streams.input.fd >= 0:
        terminal.set_size(monitor.streams.input.fd, int(arguments["rows"]), int(arguments["cols"]))


def _attach(monitor: Monitor, arguments: Json, fds: list[int]) -> None:
    monitor.streams.attach(fds[0], wish_of(arguments), bytes.fromhex(arguments.get("early") or ""))


def _exec(monitor: Monitor, arguments: Json, fds: list[int], answer: Answer) -> None:
    if monitor.paused:
        for fd in fds:
            os.close(fd)
        raise Conflict(f"Container {monitor.request.id} is paused, unpause the container before exec")
    monitor.execs.start(arguments, fds, answer)


def _open(monitor: Monitor, name: str, flags: int, answer: Answer) -> None:
    # A process that is only beginning has the engine's root, and a reaped one's pid may be anybody's.
    if not monitor.lives:
        raise NotFound(f"container {monitor.request.id} is not running")
    fd = os.open(f"/proc/{monitor.pid}/{name}", flags | os.O_CLOEXEC)
    try:
        answer({"fd": fd}, None)
    finally:
        os.close(fd)


_AT_ONCE: dict[str, Callable[[Monitor, Json, list[int]], Json]] = {
    "hello": lambda monitor, _, __: monitor.state(),
    "state": lambda monitor, _, __: monitor.state(),
    "go": lambda monitor, _, __: monitor.go(),
    "signal": lambda monitor, asked, _: pidfd_send_signal(monitor.pidfd, int(asked["signal"])),
    "kill": _kill,
    "pause": _pause,
    "resume": _resume,
    "resize": _resize,
    "attach": _attach,
    "exec_signal": lambda monitor, asked, _: monitor.execs.signal(asked["id"], int(asked["signal"])),
    "exec_resize": lambda monitor, asked, _: monitor.execs.resize(
        asked["id"], int(asked["rows"]), int(asked["cols"])
    ),
    "stats": lambda monitor, _, __: monitor.group.stats(),
    "pids": lambda monitor, _, __: {"pids": monitor.group.pids()},
    "update": lambda monitor, asked, _: {"warnings": monitor.group.apply(asked["resources"])},
}
# What of the first process in /proc is answered as a descriptor.
_FILES = {
    "root": ("root", os.O_PATH | os.O_DIRECTORY),  # for cp
    "mounts": ("ns/mnt", os.O_RDONLY),  # for export: the root without what is mounted in it
    "netns": ("ns/net", os.O_RDONLY),  # for networks that are connected while it runs
}
