"""Pseudo terminals, opened from a given devpts and never by a name that somebody could have swapped."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import termios
from collections.abc import Callable

from onggi.errors import KernelError
from onggi.kernel.paths import open_in

_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441
_PTMX, _PTMX_PATH = (5, 2), "dev/pts/ptmx"
_SLAVE_MAJORS = range(136, 144)


def open_pair(root_fd: int) -> tuple[int, int]:
    """(master, slave) of a new terminal in the devpts of the tree ``root_fd``; both close-on-exec.

    Raises KernelError(ENOTTY) if what is there is no terminal multiplexer (CVE-2025-52565).
    """
    master = open_in(root_fd, _PTMX_PATH, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        _expect(master, lambda major, minor: (major, minor) == _PTMX, _PTMX_PATH)
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except BaseException:
        os.close(master)
        raise
    _expect(slave, lambda major, _: major in _SLAVE_MAJORS, "dev/pts")
    return master, slave


def set_size(fd: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ; the kernel signals SIGWINCH to the foreground group when the size changed."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


def make_controlling(fd: int) -> None:
    """Make ``fd`` the controlling terminal of the caller, who must be a session leader."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


def _expect(fd: int, accepts: Callable[[int, int], bool], path: str) -> None:
    info = os.fstat(fd)
    if not stat.S_ISCHR(info.st_mode) or not accepts(os.major(info.st_rdev), os.minor(info.st_rdev)):
        raise KernelError("openpty", 25, path)  # ENOTTY
