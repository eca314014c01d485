"""Reaping: who ended and how. Every child of a monitor, also those that it inherits as a subreaper."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from onggi.launch.loop import IN, Loop

Ended = Callable[[int, int], None]  # exit code, signal


class Children:
    """Calls back when a pid that was ``expect``-ed has ended; other children are reaped silently."""

    def __init__(self, loop: Loop) -> None:
        self._expected: dict[int, Ended] = {}
        self._early: dict[int, tuple[int, int]] = {}
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake)
        loop.watch(self._read, IN, self._ready)

    def expect(self, pid: int, ended: Ended = lambda _code, _signal: None) -> None:
        """Call ``ended`` when ``pid`` has ended; at once if it has been reaped already."""
        if pid in self._early:
            ended(*self._early.pop(pid))
        else:
            self._expected[pid] = ended

    def _ready(self, _: int) -> None:
        os.read(self._read, 4096)
        self.reap()

    def reap(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            code = 128 + number if number else os.WEXITSTATUS(status)
            ended = self._expected.pop(pid, None)
            if ended:
                ended(code, number)
            else:
                self._early[pid] = (code, number)


def _wake(_: int, __: object) -> None:
    """The wake-up descriptor says it; nothing is done in a handler."""
