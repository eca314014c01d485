"""One piece of container output, and what a log format must be able to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from onggi.frames import STDERR, STDOUT

NAMES = {STDOUT: "stdout", STDERR: "stderr"}
MAX_LINE = 16384  # docker's: longer lines become several records, all but the last without newline


class Record(NamedTuple):
    """``data`` ends with a newline unless the line was cut or never ended; ``stream`` is 1 or 2."""

    time_ns: int
    stream: int
    data: bytes
    attributes: dict[str, str] = {}  # noqa: RUF012 - an empty constant; records never change


Render = Callable[[Record], bytes]  # what is sent of one


class Format(Protocol):
    """How records lie in a file. Batches go to the disk with one write, so they are encoded at once."""

    suffix: str

    def lines(self, stream: int, data: bytes, time_ns: int) -> bytes:
        """Encode complete lines, one record each; ``data`` ends with a newline."""

    def piece(self, stream: int, data: bytes, time_ns: int) -> bytes:
        """Encode one record without newline."""

    def record_end(self, batch: bytes, offset: int) -> int:
        """Where the record that holds byte ``offset`` of an encoded batch ends."""

    def sound_size(self, fd: int, size: int) -> int:
        """How much of a file is whole records: a crash may have left a half one."""

    def parse(self, data: bytes) -> tuple[list[Record], int]:
        """The whole records at the start of ``data`` without damaged ones, and the bytes they take."""

    def tail_offset(self, fd: int, size: int, count: int) -> tuple[int, int]:
        """Where the last ``count`` records begin, and how many of them there are (at most ``count``)."""
