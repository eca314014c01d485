"""docker's json-file format, one ``{"log":"text\\n","stream":"stdout","attrs":{...},"time":"..."}`` per line.

The writer escapes whole batches with a few C-speed passes instead of line by line; the bytes are docker's:
``<``, ``>``, ``&``, U+2028 and U+2029 are escaped, and every byte that is not UTF-8 becomes U+FFFD.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Mapping

from onggi.frames import STDERR, STDOUT
from onggi.logs.record import NAMES, Record
from onggi.logs.times import Parser
from onggi.times import rfc3339

_BLOCK = 65536
_SPECIAL = {byte: b"\\u%04x" % byte for byte in (*range(0x20), ord("<"), ord(">"), ord("&"))}
_SPECIAL |= {ord('"'): b'\\"', ord("\r"): b"\\r"}
_PLAIN = bytes(byte for byte in range(256) if byte not in _SPECIAL and byte not in b"\\") + b"\n"
_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


def _replace_invalid(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\\ufffd" * (error.end - error.start), error.end


codecs.register_error("onggi.fffd", _replace_invalid)


def escape(data: bytes) -> bytes:
    """The inside of a JSON string for ``data``; newlines are left alone, because they separate records."""
    present = set(data.translate(None, _PLAIN))
    if present:
        data = data.replace(b"\\", b"\\\\")  # first: the others add backslashes
        for byte in present - {0x5C}:
            data = data.replace(b"%c" % byte, _SPECIAL[byte])
    if data.isascii():
        return data
    for character, escaped in _SEPARATORS:
        data = data.replace(character, escaped)
    return data.decode("utf-8", "onggi.fffd").encode("utf-8")


class JsonFile:
    """The format json-file; ``attributes`` stand in every record (docker's ``attrs``)."""

    suffix = "-json.log"

    def __init__(self, attributes: Mapping[str, str] | None = None) -> None:
        text = json.dumps(dict(sorted((attributes or {}).items())), separators=(",", ":"), ensure_ascii=False)
        attrs = b',"attrs":' + text.encode("utf-8", "replace") if attributes else b""
        self._middle = {stream: b'","stream":"' + NAMES[stream].encode() + b'"' + attrs for stream in NAMES}
        self._times = Parser()

    def lines(self, stream: int, data: bytes, time_ns: int) -> bytes:
        tail = self._end(stream, time_ns)
        body = escape(data[:-1]).replace(b"\n", b"\\n" + tail + b'{"log":"')
        return b'{"log":"' + body + b"\\n" + tail

    def piece(self, stream: int, data: bytes, time_ns: int) -> bytes:
        return b'{"log":"' + escape(data) + self._end(stream, time_ns)

    def _end(self, stream: int, time_ns: int) -> bytes:
        return self._middle[stream] + b',"time":"' + rfc3339(time_ns).encode() + b'"}\n'

    def record_end(self, batch: bytes, offset: int) -> int:
        return batch.index(b"\n", offset) + 1

    def sound_size(self, fd: int, size: int) -> int:
        while size > 0:
            start = max(0, size - _BLOCK)
            newline = os.pread(fd, size - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            size = start
        return 0

    def parse(self, data: bytes) -> tuple[list[Record], int]:
        end = data.rfind(b"\n") + 1
        found = map(self._record, filter(None, data[:end].split(b"\n")))
        return [record for record in found if record], end

    def _record(self, line: bytes) -> Record | None:
        try:
            found = json.loads(line)
            stream = STDERR if found.get("stream") == "stderr" else STDOUT
            time_ns = self._times.parse_ns(found["time"])
            text = found.get("log", "").encode("utf-8", "replace")
            return Record(time_ns, stream, text, found.get("attrs") or {})
        except (ValueError, KeyError, AttributeError, TypeError):
            return None  # a damaged line (disk full, power loss) must not hide the others

    def tail_offset(self, fd: int, size: int, count: int) -> tuple[int, int]:
        found, position = 0, self.sound_size(fd, size)
        if count <= 0 or not position:
            return position, 0
        position -= 1  # the newline that ends the last record
        while position > 0:
            start = max(0, position - _BLOCK)
            block = os.pread(fd, position - start, start)
            newlines = block.count(b"\n")
            if found + newlines >= count:
                return start + _nth_from_end(block, count - found) + 1, count
            found, position = found + newlines, start
        return 0, found + 1


def _nth_from_end(block: bytes, count: int) -> int:
    position = len(block)
    for _ in range(count):
        position = block.rindex(b"\n", 0, position)
    return position
