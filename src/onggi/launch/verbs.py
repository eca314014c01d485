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
    handler = _VERBS.get(verb)
    if handler is None:
        for fd in fds:
            os.close(fd)
        raise Unsupported(f"this monitor does not know the verb {verb!r}")
    handler(monitor, arguments, fds, answer)


def _hello(monitor: Monitor, _: Json, __: list[int], answer: Answer) -> None:
    answer(monitor.state(), None)


def _go(monitor: Monitor, _: Json, __: list[int], answer: Answer) -> None:
    monitor.go()
    answer({}, None)


def _signal(monitor: Monitor, arguments: Json, _: list[int], answer: Answer) -> None:
    pidfd_send_signal(monitor.pidfd, int(arguments["signal"]))
    answer({}, None)


def _kill(monitor: Monitor, _: Json, __: list[int], answer: Answer) -> None:
    monitor.group.kill(wait=False)
    monitor.paused = False
    answer({}, None)


def _pause(monitor: Monitor, _: Json, __: list[int], answer: Answer) -> None:
    if monitor.paused:
        raise Conflict(f"Container {monitor.request.id} is already paused")
    monitor.group.freeze()
    monitor.paused = True
    answer({}, None)


def _resume(monitor: Monitor, _: Json, __: list[int], answer: Answer) -> None:
    if not monitor.paused:
        raise Conflict(f"Container {monitor.request.id} is not paused")
    monitor.group.thaw()
    monitor.paused = False
    answer({}, None)


def _resize(monitor: Monitor, arguments: Json, _: list[int], answer: Answer) -> None:
    if monitor.request.terminal and monitor.streams.input.fd >= 0:
        terminal.set_size(monitor.streams.input.fd, int(arguments["rows"]), int(arguments["cols"]))
    answer({}, None)


def _attach(monitor: Monitor, arguments: Json, fds: list[int], answer: Answer) -> None:
    monitor.streams.attach(fds[0], wish_of(arguments), bytes.fromhex(arguments.get("early") or ""))
    answer({}, None)


def _exec(monitor: Monitor, arguments: Json, fds: list[int], answer: Answer) -> None:
    if monitor.paused:
        for fd in fds:
            os.close(fd)
        raise Conflict(f"Container {monitor.request.id} is paused, unpause the container before exec")
    monitor.execs.start(arguments, fds, answer)


def _exec_wait(monitor: Monitor, arguments: Json, _: list[int], answer: Answer) -> None:
    monitor.execs.wait(arguments["id"], answer)


def _exec_signal(monitor: Monitor, arguments: Json, _: list[int], answer: Answer) -> None:
    monitor.execs.signal(arguments["id"], int(arguments["signal"]))
    answer({}, None)


def _exec_resize(monitor: Monitor, arguments: Json, _: list[int], answer: Answer) -> None:
    monitor.execs.resize(arguments["id"], int(arguments["rows"]), int(arguments["cols"]))
    answer({}, None)


def _stats(monitor: Monitor, _: Json, __: list[int], answer: Answer) -> None:
    answer(monitor.group.stats(), None)


def _pids(monitor: Monitor, _: Json, __: list[int], answer: Answer) -> None:
    answer({"pids": monitor.group.pids()}, None)


def _update(monitor: Monitor, arguments: Json, _: list[int], answer: Answer) -> None:
    answer({"warnings": monitor.group.apply(arguments["resources"])}, None)


def _root(monitor: Monitor, _: Json, __: list[int], answer: Answer) -> None:
    """A descriptor of the running root, for cp."""
    _answer_with(monitor, answer, "root", os.O_PATH | os.O_DIRECTORY)


def _mounts(monitor: Monitor, _: Json, __: list[int], answer: Answer) -> None:
    """A descriptor of the mount namespace, for export: the root without what is mounted in it."""
    _answer_with(monitor, answer, "ns/mnt", os.O_RDONLY)


def _answer_with(monitor: Monitor, answer: Answer, name: str, flags: int) -> None:
    # A process that is only beginning has the engine's root, and a reaped one's pid may be anybody's.
    if not monitor.lives:
        raise NotFound(f"container {monitor.request.id} is not running")
    fd = os.open(f"/proc/{monitor.pid}/{name}", flags | os.O_CLOEXEC)
    try:
        answer({"fd": fd}, None)
    finally:
        os.close(fd)


def _netns(monitor: Monitor, _: Json, __: list[int], answer: Answer) -> None:
    """A descriptor of the container's network namespace, for what is connected while it runs."""
    _answer_with(monitor, answer, "ns/net", os.O_RDONLY)


_VERBS: dict[str, Callable[[Monitor, Json, list[int], Answer], None]] = {
    "hello": _hello,
    "state": _hello,
    "go": _go,
    "signal": _signal,
    "kill": _kill,
    "pause": _pause,
    "resume": _resume,
    "resize": _resize,
    "attach": _attach,
    "exec": _exec,
    "exec_wait": _exec_wait,
    "exec_signal": _exec_signal,
    "exec_resize": _exec_resize,
    "stats": _stats,
    "pids": _pids,
    "update": _update,
    "root": _root,
    "netns": _netns,
    "mounts": _mounts,
}
