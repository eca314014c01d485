"""Writes a container's output to its log, in the monitor: no error of ours may stop a container."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from onggi.logs.files import format_of, log_path
from onggi.logs.local import Local
from onggi.logs.options import Rotation, buffer_size, cache, rotation
from onggi.logs.record import MAX_LINE, NAMES, Format
from onggi.logs.rotation import Compressor, numbered, rotate
from onggi.logs.sending import SENDING, Encoder, Sender, Source, encoder, sender

After = Callable[[float, Callable[[], None]], None]
_LOCAL = Local()
_SOON_S, _SELDOM_S = 0.005, 1.0
_OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Writer:
    """Takes output as it comes, and writes whole lines; ``errors`` counts what could not be written.

    This one writes nothing (driver ``none``).
    """

    errors = 0

    def write(self, stream: int, data: bytes, now_ns: int) -> None:
        """Take bytes of ``stream`` (1 or 2) that arrived at ``now_ns``; an unfinished line waits."""

    def follow(self, after: After) -> None:
        """Have calls made ``after`` some seconds, where something may wait to be sent."""

    def flush(self) -> None:
        """Write unfinished lines as they are: the streams have ended."""

    def close(self) -> None:
        """Flush, and finish a compression under way. Idempotent."""


class FileWriter(Writer):
    """Writes records to a rotated file, one write(2) for all lines of a call."""

    def __init__(self, path: str, form: Format, policy: Rotation) -> None:
        self.errors = 0
        self._path, self._format, self._policy = path, form, policy
        self._unfinished = dict.fromkeys(NAMES, b"")
        self._piece_time = dict.fromkeys(NAMES, 0)  # of the first piece of a line that was cut, 0: none
        self._arrived = dict.fromkeys(NAMES, 0)
        self._compressor: Compressor | None = None
        self._fd, self._size = -1, 0
        self._guard(self._open)

    def write(self, stream: int, data: bytes, now_ns: int) -> None:
        if self._unfinished[stream]:
            data = self._unfinished[stream] + data
        cut = data.rfind(b"\n") + 1
        encoded = self._encode_lines(stream, data[:cut], now_ns) if cut else b""
        rest = data[cut:]
        while len(rest) > MAX_LINE:
            encoded += self._encode_piece(stream, rest[: _cut(rest)], now_ns)
            rest = rest[_cut(rest) :]
        self._unfinished[stream] = rest
        self._arrived[stream] = now_ns
        if encoded:
            self._append(encoded)

    def flush(self) -> None:
        for stream, rest in self._unfinished.items():
            if rest:
                self._append(self._encode_piece(stream, rest, self._arrived[stream]))
            self._unfinished[stream], self._piece_time[stream] = b"", 0

    def close(self) -> None:
        self.flush()
        while self._compressor:
            self._compress()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _encode_lines(self, stream: int, data: bytes, now_ns: int) -> bytes:
        encoded = b""
        if self._piece_time[stream]:
            end = data.index(b"\n") + 1
            encoded = self._encode_long(stream, data[:end], self._piece_time[stream])
            self._piece_time[stream] = 0
            data = data[end:]
        if not data:
            return encoded
        if len(data) <= MAX_LINE or max(map(len, data.split(b"\n"))) <= MAX_LINE:
            return encoded + self._format.lines(stream, data, now_ns)
        lines = data[:-1].split(b"\n")
        return encoded + b"".join(self._encode_long(stream, line + b"\n", now_ns) for line in lines)

    def _encode_long(self, stream: int, line: bytes, time_ns: int) -> bytes:
        """One line, which may be too long for one record."""
        pieces = []
        while len(line) > MAX_LINE + 1:
            pieces.append(self._format.piece(stream, line[: _cut(line)], time_ns))
            line = line[_cut(line) :]
        return b"".join((*pieces, self._format.lines(stream, line, time_ns)))

    def _encode_piece(self, stream: int, data: bytes, now_ns: int) -> bytes:
        self._piece_time[stream] = self._piece_time[stream] or now_ns
        return self._format.piece(stream, data, self._piece_time[stream])

    def _append(self, batch: bytes) -> None:
        self._guard(self._append_batch, batch)
        if self._compressor:
            self._compress()

    def _append_batch(self, batch: bytes) -> None:
        limit = self._policy.max_size
        while batch:
            if self._fd < 0:
                self._open()
            # As docker: a file is full when it has reached the limit before a record is written.
            if 0 <= limit <= self._size:
                self._rotate()
            end = len(batch)
            if 0 <= limit < self._size + end:
                end = self._format.record_end(batch, limit - self._size - 1)
            self._write_whole(batch[:end])
            batch = batch[end:]

    def _write_whole(self, batch: bytes) -> None:
        view = memoryview(batch)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self._size)  # no half record in the middle of the file
            raise
        self._size += len(batch)

    def _open(self) -> None:
        self._fd = os.open(self._path, _OPEN, 0o600)
        os.fchmod(self._fd, 0o600)
        size = os.fstat(self._fd).st_size
        self._size = self._format.sound_size(self._fd, size)
        if self._size < size:
            os.ftruncate(self._fd, self._size)

    def _rotate(self) -> None:
        while self._compressor:
            self._compress()
        stamp = time.time_ns()  # the kernel's own stamps are too coarse to tell two files apart
        os.utime(self._fd, ns=(stamp, stamp))
        os.close(self._fd)
        self._fd = -1
        rotate(self._path, self._policy.max_file)
        self._open()
        if self._policy.compress:
            self._compressor = Compressor(numbered(self._path, 1))

    def _compress(self) -> None:
        try:
            if self._compressor and self._compressor.step():
                self._compressor = None
        except OSError:
            self.errors += 1
            self._compressor = None

    def _guard(self, action: Callable[..., None], *arguments: bytes) -> None:
        try:
            action(*arguments)
        except OSError:
            self.errors += 1


class SendingWriter(FileWriter):
    """Sends each record away, and keeps it in a file too unless ``policy`` is None."""

    def __init__(self, path: str, policy: Rotation | None, sender: Sender, encode: Encoder) -> None:
        self._sender, self._encode, self._keeps = sender, encode, policy is not None
        self._after: After = lambda *_: None
        self._due, self._pause_s = False, _SOON_S
        super().__init__(path, _LOCAL, policy or Rotation())

    def follow(self, after: After) -> None:
        self._after = after

    def close(self) -> None:
        super().close()
        self.errors += self._sender.finish()

    def _open(self) -> None:
        if self._keeps:
            super()._open()

    def _append(self, batch: bytes) -> None:
        if self._keeps:
            super()._append(batch)
        for record in _LOCAL.parse(batch)[0]:
            self.errors += not self._sender.send(self._encode(record))
        self._offer_later()

    def _offer_later(self) -> None:
        """What waits may be the last that is said. A peer that takes nothing is asked less and less often."""
        if self._sender.waits and not self._due:
            self._due = True
            self._after(self._pause_s, self._offer)

    def _offer(self) -> None:
        self._due = False
        stuck = self._sender.waits and not self._sender.offer()
        self._pause_s = min(2 * self._pause_s, _SELDOM_S) if stuck else _SOON_S
        self._offer_later()


def open_writer(
    driver: str,
    directory: str,
    options: Mapping[str, str],
    attributes: Mapping[str, str] | None = None,
    source: Mapping[str, str] | None = None,
) -> Writer:
    """The writer of a driver; ``options`` were validated, ``attributes`` stand in json-file records.

    ``source`` has the id, name, image and tag of the container for drivers that send records away.
    """
    if driver == "none":
        return Writer()
    if driver in SENDING:
        of = Source(extra=attributes or {}, **(source or {}))
        path = log_path(driver, directory)
        target, encode = encoder(driver, options, of)
        return SendingWriter(path, cache(options), sender(target, buffer_size(options)), encode)
    return FileWriter(log_path(driver, directory), format_of(driver, attributes), rotation(options))


def _cut(data: bytes) -> int:
    """Where to cut an overlong line: at MAX_LINE, or a little before rather than inside a character."""
    for back in range(4):
        if data[MAX_LINE - back] & 0xC0 != 0x80:
            return MAX_LINE - back
    return MAX_LINE
