"""The inner ends of standard streams: pipes for a process without a terminal."""

from __future__ import annotations

import os
from typing import NamedTuple

from onggi.launch.streams import STDERR, STDOUT, Streams
from onggi.runtime.init import Stdio


class Ends(NamedTuple):
    """What the child gets, and what to close here once it has been forked."""

    stdio: Stdio | None
    inner: tuple[int, ...]

    def close(self) -> None:
        """Close our copies of the inner ends."""
        for fd in self.inner:
            os.close(fd)


def open_ends(streams: Streams, *, tty: bool, stdin: bool) -> Ends:
    """Make the pipes of a process and give the outer ends to ``streams``; a terminal is opened by the process
    itself.
    """
    if tty:
        return Ends(None, ())
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    error_read, error_write = os.pipe2(os.O_CLOEXEC)
    streams.add_output(out_read, STDOUT)
    streams.add_output(error_read, STDERR)
    if not stdin:
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        inner = (null, out_write, error_write)
    else:
        in_read, in_write = os.pipe2(os.O_CLOEXEC)
        streams.input.set_pipe(in_write)
        inner = (in_read, out_write, error_write)
    return Ends(Stdio(*inner), inner)
