"""Exec'd processes of one container, as its monitor sees them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from typing import Any

from onggi.errors import Conflict, NotFound, OnggiError
from onggi.kernel import sealed, terminal
from onggi.kernel.process import pidfd_send_signal
from onggi.launch.children import Children
from onggi.launch.loop import IN, Loop
from onggi.launch.stdio import open_ends
from onggi.launch.streams import Streams, Wish
from onggi.runtime import channel
from onggi.runtime.join import Target, fork_joined
from onggi.runtime.plan import load_process

Json = Any
Answer = Callable[[Json, BaseException | None], None]
_DRAIN_S = 2.0


class Exec:
    """One exec: forked, started, ended, drained."""

    def __init__(self, owner: Execs, arguments: Json, process_fd: int, answer: Answer) -> None:
        self.owner, self.id, self.tty = owner, arguments["id"], bool(arguments.get("tty"))
        self.pid, self.pidfd = 0, -1
        self.code: int | None = None
        self.waiters: list[Answer] = []
        self._answer: Answer | None = answer
        self._failure: channel.Failure | None = None
        self._outer, inner = channel.pair()
        ends = open_ends(tty=self.tty, stdin=bool(arguments.get("stdin")))
        size = tuple(arguments.get("size") or (0, 0))
        child = fork_joined(
            lambda: load_process(json.loads(sealed.read(process_fd))),
            owner.target(),
            ends.stdio,
            (self._outer, inner),
            (size[0], size[1]),
        )
        inner.close()
        ends.close()
        self.streams = Streams(owner.loop, None, not self.tty, self._changed)
        ends.give(self.streams)
        if owner.target().may_trace:
            owner.children.expect(child)  # the middle: the process itself is reported by the channel
        else:
            self._adopt(child)
        owner.loop.watch(self._outer.fileno(), IN, self._message)
        if arguments.get("timeout"):
            owner.loop.after(float(arguments["timeout"]), self._expire)

    def _expire(self) -> None:
        if self.pidfd >= 0:
            with contextlib.suppress(OnggiError):
                pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def _adopt(self, pid: int) -> None:
        self.pid = pid
        with contextlib.suppress(OSError):
            self.pidfd = os.pidfd_open(pid)
        self.owner.children.expect(pid, self._ended)

    def _message(self, _: int) -> None:
        kind, payload, fds = channel.receive(self._outer)
        if kind == channel.TERMINAL:
            self.streams.set_terminal(fds[0])
        elif kind == channel.PID:
            self._adopt(int(payload))
        elif kind == channel.FAILED:
            self._failure = channel.parse_failure(payload)
        else:
            self._decided()

    def _decided(self) -> None:
        """The channel reached EOF: exec succeeded, or a failure came before."""
        self.owner.loop.forget(self._outer.fileno())
        self._outer.close()
        answer, self._answer = self._answer, None
        if answer is None:
            return
        if self._failure:
            self.streams.finish()
            self.owner.remove(self)
            answer(None, self._failure.error())
        else:
            answer({"pid": self.pid}, None)

    def _ended(self, code: int, _: int) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        # What a failure says is still in the channel when the process is reaped first.
        while self._outer.fileno() >= 0:
            self._message(IN)
        if self._failure:
            return
        self.code = code
        self.streams.drain()
        if not self._settle():
            self.owner.loop.after(_DRAIN_S, self._give_up)

    def _changed(self) -> None:
        self._settle()

    def _settle(self) -> bool:
        """Report the end once output is complete: a client's EOF never precedes its last byte."""
        if self.code is None or not self.streams.ended():
            return False
        self._report()
        return True

    def _give_up(self) -> None:
        # A background process inherited the streams and holds them; docker waits about as long.
        if self in self.owner.running.values():
            self._report()

    def _report(self) -> None:
        if not self.streams.finished and self.code is not None:
            self.owner.record(self.id, self.code)
            self.streams.tell(json.dumps({"ExitCode": self.code}).encode())
            self.streams.finish()
            for answer in self.waiters:
                answer({"code": self.code, "error": ""}, None)
            self.owner.remove(self)


class Execs:
    """All execs of a container."""

    def __init__(
        self, loop: Loop, children: Children, target: Callable[[], Target], record: Callable[[str, int], None]
    ) -> None:
        self.loop, self.children, self.target = loop, children, target
        self._record = record
        self.running: dict[str, Exec] = {}
        self.ended: dict[str, int] = {}

    def start(self, arguments: Json, fds: list[int], answer: Answer) -> None:
        """Fork one; the answer comes when exec succeeded or failed.

        ``fds`` are a memfd with the process, which only the fork reads, and perhaps a client.
        """
        if arguments["id"] in self.running or arguments["id"] in self.ended:
            raise Conflict(f"exec {arguments['id']} has been started already")
        try:
            process = Exec(self, arguments, fds[0], answer)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        os.close(fds[0])
        self.running[process.id] = process
        if fds[1:]:
            early = bytes.fromhex(arguments.get("early") or "")
            process.streams.attach(fds[1], wish_of(arguments), early)

    def wait(self, exec_id: str, answer: Answer) -> None:
        """Answer with the exit code, now or when it ends."""
        if exec_id in self.ended:
            answer({"code": self.ended[exec_id], "error": ""}, None)
        elif exec_id in self.running:
            self.running[exec_id].waiters.append(answer)
        else:
            raise NotFound(f"No such exec instance: {exec_id}")

    def signal(self, exec_id: str, number: int) -> None:
        """Signal an exec'd process; nothing happens if it has ended."""
        process = self._get(exec_id)
        with contextlib.suppress(OnggiError):
            pidfd_send_signal(process.pidfd, number)

    def resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Set the size of an exec's terminal."""
        process = self._get(exec_id)
        if process.tty and process.streams.input.fd >= 0:
            terminal.set_size(process.streams.input.fd, rows, columns)

    def record(self, exec_id: str, code: int) -> None:
        """Keep an exit code until the engine has taken it."""
        self.ended[exec_id] = code
        self._record(exec_id, code)

    def remove(self, process: Exec) -> None:
        """Forget a finished exec."""
        self.running.pop(process.id, None)

    def _get(self, exec_id: str) -> Exec:
        if exec_id not in self.running:
            raise NotFound(f"No such exec instance: {exec_id}")
        return self.running[exec_id]


def wish_of(arguments: Json) -> Wish:
    """What a client wants, from a message; ``detach_keys`` is hexadecimal."""
    return Wish(
        stdin=bool(arguments.get("stdin")),
        stdout=bool(arguments.get("stdout", True)),
        stderr=bool(arguments.get("stderr", True)),
        framed=bool(arguments.get("framed")),
        detach_keys=bytes.fromhex(arguments.get("detach_keys") or ""),
        name=str(arguments.get("name") or ""),
        status=bool(arguments.get("status")),
    )
