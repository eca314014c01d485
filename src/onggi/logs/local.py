"""The ``local`` format: compact binary records that can be walked from both ends.

    length (4, big-endian, of the data) | stream (1) | reserved (3) | time in ns (8) | data | length again (4)

It keeps every byte as the program wrote it, also what is no UTF-8.
"""

from __future__ import annotations

import os
import struct

from onggi.frames import STDERR, STDOUT
from onggi.logs.record import MAX_LINE, Record

_HEAD = struct.Struct(">IB3xQ")
_TAIL = struct.Struct(">I")
_FRAME = _HEAD.size + _TAIL.size


class Local:
    """The format local."""

    suffix = "-local.log"

    def lines(self, stream: int, data: bytes, time_ns: int) -> bytes:
        return b"".join(self.piece(stream, line + b"\n", time_ns) for line in data[:-1].split(b"\n"))

    def piece(self, stream: int, data: bytes, time_ns: int) -> bytes:
        return _HEAD.pack(len(data), stream, time_ns) + data + _TAIL.pack(len(data))

    def record_end(self, batch: bytes, offset: int) -> int:
        position = 0
        while position <= offset:
            position += _FRAME + _TAIL.unpack_from(batch, position)[0]
        return position

    def sound_size(self, fd: int, size: int) -> int:
        if not size or self._ends_with_record(fd, size):
            return size
        position = 0
        while (length := self._length_at(fd, position, size)) >= 0:
            position += _FRAME + length
        return position

    def parse(self, data: bytes) -> tuple[list[Record], int]:
        records: list[Record] = []
        position = 0
        while position + _HEAD.size <= len(data):
            length, stream, time_ns = _HEAD.unpack_from(data, position)
            if not _valid(length, stream):
                return records, len(data)  # damaged: nothing behind it can be found again
            end = position + _FRAME + length
            if end > len(data):
                break
            records.append(Record(time_ns, stream, data[position + _HEAD.size : end - _TAIL.size]))
            position = end
        return records, position

    def tail_offset(self, fd: int, size: int, count: int) -> tuple[int, int]:
        position, found = self.sound_size(fd, size), 0
        while position > 0 and found < count:
            length = _TAIL.unpack(os.pread(fd, _TAIL.size, position - _TAIL.size))[0]
            position -= _FRAME + length
            found += 1
        return max(position, 0), found

    def _ends_with_record(self, fd: int, size: int) -> bool:
        if size < _FRAME:
            return False
        length: int = _TAIL.unpack(os.pread(fd, _TAIL.size, size - _TAIL.size))[0]
        start = size - _FRAME - length
        return start >= 0 and self._length_at(fd, start, size) == length

    def _length_at(self, fd: int, position: int, size: int) -> int:
        """The data length of the record at ``position``, or -1 if there is no whole one."""
        head = os.pread(fd, _HEAD.size, position)
        if len(head) < _HEAD.size:
            return -1
        length, stream, _ = _HEAD.unpack(head)
        if not _valid(length, stream) or position + _FRAME + length > size:
            return -1
        tail = os.pread(fd, _TAIL.size, position + _HEAD.size + length)
        return int(length) if tail == _TAIL.pack(length) else -1


def _valid(length: int, stream: int) -> bool:
    return length <= MAX_LINE + 1 and stream in (STDOUT, STDERR)
