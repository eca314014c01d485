"""The inner ends of standard streams: pipes for a process without a terminal."""

from __future__ import annotations

import os
from typing import NamedTuple

from onggi.frames import STDERR, STDOUT
from onggi.launch.streams import Streams
from onggi.runtime.init import Stdio


class Ends(NamedTuple):
    """What the child gets, what to close here once it has been forked, and our ends: of standard output,
    error and perhaps input.
    """

    stdio: Stdio | None
    inner: tuple[int, ...]
    outer: tuple[int, ...]

    def close(self) -> None:
        """Close our copies of the inner ends."""
        for fd in self.inner:
            os.close(fd)

    def give(self, streams: Streams) -> None:
        """Let ``streams`` have the outer ends."""
        for fd, number in zip(self.outer, (STDOUT, STDERR), strict=False):
            streams.add_output(fd, number)
        if self.outer[2:]:
            streams.input.set_pipe(self.outer[2])


def open_ends(*, tty: bool, stdin: bool) -> Ends:
    """Make the pipes of a process; a terminal is opened by the process itself."""
    if tty:
        return Ends(None, (), ())
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    error_read, error_write = os.pipe2(os.O_CLOEXEC)
    given = os.pipe2(os.O_CLOEXEC) if stdin else (os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC),)
    inner = (given[0], out_write, error_write)
    return Ends(Stdio(*inner), inner, (out_read, error_read, *given[1:]))
