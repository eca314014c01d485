"""Signals to the command while it is attached: forwarded, or turned into a new terminal size.

Handlers only wake the poll loop (signal.set_wakeup_fd); what is to be done happens there, not in a handler.
But for who insists: as docker's, a command ends at the third SIGINT or SIGTERM, whoever does not answer.
"""

from __future__ import annotations

import os

from onggi.cli.command import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Any
else:
    import _signal  # without the enums of ``signal``: 5 ms

# CHLD and PIPE are ours; URG, WINCH need no forwarding; TTIN and TTOU must go on stopping a background job.
_KEPT = ("SIGCHLD", "SIGPIPE", "SIGURG", "SIGKILL", "SIGSTOP", "SIGTTIN", "SIGTTOU", "SIGWINCH", "SIGCLD")
_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP", "SIGABRT", "SIGIOT")
_PATIENCE = 3
NAMES: dict[int, str] = {
    getattr(_signal, name): name.removeprefix("SIG")
    for name in dir(_signal)
    if name.startswith("SIG")
    and not name.startswith(("SIG_", "SIGRT"))
    and name not in ("SIGCLD", "SIGIOT", "SIGPOLL")
}


class Watch:
    """Collects signals between ``start`` and ``stop``. ``fd`` becomes readable when one came."""

    def __init__(self, proxy: bool, terminal: bool) -> None:
        wanted = {number for number, name in NAMES.items() if "SIG" + name not in _KEPT + _FAULTS}
        self._numbers = wanted if proxy else set()
        if terminal:
            self._numbers |= {
                _signal.SIGWINCH,
                _signal.SIGTERM,
                _signal.SIGHUP,
                _signal.SIGINT,
                _signal.SIGQUIT,
            }
        self.proxy = proxy
        self.fd = self._writer = self._former = -1
        self._saved: dict[int, Any] = {}
        self._insisted = 0

    def start(self) -> None:
        """Begin to collect."""
        self.fd, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._former = _signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._numbers:
            self._saved[number] = _signal.signal(number, self._caught)

    def stop(self) -> None:
        """Put the former handlers back; safe to call again."""
        for number, handler in self._saved.items():
            _signal.signal(number, handler if handler is not None else _signal.SIG_DFL)
        self._saved.clear()
        if self.fd >= 0:
            _signal.set_wakeup_fd(self._former)
            os.close(self.fd)
            os.close(self._writer)
            self.fd = -1

    def _caught(self, number: int, frame: object) -> None:
        """Count what should end us; the wake-up descriptor carries the news."""
        self._insisted += number in (_signal.SIGINT, _signal.SIGTERM)
        if self._insisted == _PATIENCE:
            # No fourth one may disturb the end: the terminal is put in order on the way out.
            self._saved.update({_signal.SIGINT: _signal.SIG_IGN, _signal.SIGTERM: _signal.SIG_IGN})
            raise Failure(f"\ngot {_PATIENCE} SIGTERM/SIGINTs, forcefully exiting")

    def take(self) -> list[int]:
        """Return the numbers that arrived since the last call."""
        try:
            return list(os.read(self.fd, 256))
        except BlockingIOError:
            return []

    def handle(
        self, forward: Callable[[str], None], resize: Callable[[], None], give_up: Callable[[int], None]
    ) -> None:
        """Act on what arrived: resize on WINCH, forward the others by name, or give up."""
        for number in self.take():
            if number == _signal.SIGWINCH:
                resize()
            elif self.proxy and number in self._numbers:
                forward(NAMES[number])
            elif number in self._numbers:
                give_up(number)


def die_by(number: int) -> None:
    """End this process as if the signal had not been caught."""
    _signal.signal(number, _signal.SIG_DFL)
    os.kill(os.getpid(), number)


def die_of_broken_pipe() -> None:
    """End quietly when a reader of our output goes away, as every tool does (Python ignores SIGPIPE)."""
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
