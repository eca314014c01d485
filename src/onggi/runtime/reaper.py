"""The init of ``--init``: stays process 1, passes signals on to the program, reaps what is orphaned."""

from __future__ import annotations

import os
import signal
import socket
from typing import NoReturn

from onggi.kernel import syscalls

_NOT_FORWARDED = "KILL STOP CHLD FPE ILL SEGV BUS ABRT TRAP SYS TTIN TTOU"
_KEPT = {int(getattr(signal, f"SIG{name}")) for name in _NOT_FORWARDED.split()}


def stay_as_init(inner: socket.socket) -> None:
    """Fork; the child returns and goes on to exec, the parent never returns and ends with the child's status.

    Called with the container's own rights: this process can do nothing the program could not.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [*_forwarded(), signal.SIGCHLD])
    child = os.fork()
    if child == 0:
        # A session of its own would lose the terminal; a group of its own in its foreground is what shells
        # expect.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return
    inner.close()
    _look_after(child)


def _forwarded() -> list[int]:
    return [number for number in signal.valid_signals() if number not in _KEPT]


def _look_after(child: int) -> NoReturn:
    syscalls.set_name("onggi-init")
    for ignored in (signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(ignored, signal.SIG_IGN)
    waited = [*_forwarded(), signal.SIGCHLD]
    while True:
        number = signal.sigwait(waited)
        if number == signal.SIGCHLD:
            _reap(child)
        else:
            os.kill(child, number)


def _reap(child: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            os._exit(1)
        if pid == 0:
            return
        if pid == child:
            os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
