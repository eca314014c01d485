"""Terminals of the command: sent to a ``--console-socket``, or carried between the caller's terminal and the
container's; and waiting for a process meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import tty
from types import FrameType

from onggi.errors import KernelError
from onggi.kernel import terminal
from onggi.kernel.files import write_all
from onggi.kernel.sockets import connect_unix, send_message

_OURS = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGWINCH, signal.SIGPIPE, signal.SIGURG}
_PASSED = {number for number in signal.valid_signals() - _OURS if number < signal.SIGRTMIN}
_CHUNK = 65536


def send(path: str, master: int) -> None:
    """Give a terminal's master to whoever listens on ``path``."""
    try:
        with connect_unix(path, socket.SOCK_STREAM) as sock:
            send_message(sock, b"/dev/pts/ptmx", [master])
    except OSError as error:
        raise KernelError("connect", error.errno or 0, path, "console socket") from None
    finally:
        os.close(master)


def hold_signals() -> None:
    """Keep signals that arrive before there is a process to pass them to; ``Foreground`` takes them up."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED)


class Foreground:
    """Waits for one process, passing the caller's signals on and, with a ``master``, its terminal."""

    def __init__(self, pid: int, master: int = -1) -> None:
        self.pid, self.master = pid, master
        self._wake, wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        for number in _PASSED | {signal.SIGCHLD, signal.SIGWINCH}:
            signal.signal(number, _noted)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        if master >= 0:
            os.set_blocking(master, True)
            self._poll.register(master, select.POLLIN)
            self._poll.register(0, select.POLLIN)

    def wait(self) -> int:
        """The exit code; 128 and more for a signal. The caller's terminal is put back as it was."""
        saved = _make_raw() if self.master >= 0 else None
        try:
            self._resize()
            return self._loop()
        finally:
            if saved:
                termios.tcsetattr(0, termios.TCSADRAIN, saved)

    def _loop(self) -> int:
        while (code := self._reap()) is None:
            for fd, _ in self._poll.poll():
                if fd == self._wake:
                    self._signals()
                elif fd == self.master:
                    self._output()
                else:
                    self._input()
        while self.master >= 0 and self._output():
            pass
        return code

    def _reap(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _signals(self) -> None:
        for number in os.read(self._wake, 4096):
            if number == signal.SIGWINCH:
                self._resize()
            elif number != signal.SIGCHLD:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)

    def _resize(self) -> None:
        if self.master >= 0:
            with contextlib.suppress(OSError):
                rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
                terminal.set_size(self.master, rows, columns)

    def _output(self) -> bool:
        try:
            data = os.read(self.master, _CHUNK)
        except OSError:  # EIO: nobody has the other side open any more
            data = b""
        if not data:
            self._poll.unregister(self.master)
            self.master = -1
            return False
        _write(1, data)
        return True

    def _input(self) -> None:
        data = os.read(0, _CHUNK)
        if data and self.master >= 0:
            _write(self.master, data)
        else:
            self._poll.unregister(0)


def _write(fd: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        write_all(fd, data)


def _make_raw() -> list[int | list[bytes | int]] | None:
    if not os.isatty(0):
        return None
    saved = termios.tcgetattr(0)
    tty.setraw(0)
    return saved


def _noted(_: int, __: FrameType | None) -> None:
    """The wake-up descriptor says which; nothing is done in a handler."""
