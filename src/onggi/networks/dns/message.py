"""DNS messages (RFC 1035): one question in, addresses and names out. Pure.

What is not ours to answer is passed on as it came, so that a small part of the format is enough.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

A, PTR, AAAA, ANY = 1, 12, 28, 255
INTERNET = 1
OK, SERVER_FAILURE, NO_NAME = 0, 2, 3
LEAST_UDP = 512
MOST_UDP = 4096
_HEADER = struct.Struct("!6H")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION, _AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_TTL_S = 10
_MOST_LABELS = 128


class Query(NamedTuple):
    """One question; ``name`` is lower case without the final dot, ``question`` its bytes as they came."""

    id: int
    recursion: bool
    name: str
    type: int
    question: bytes
    udp_size: int = LEAST_UDP


class Record(NamedTuple):
    """One answer to the question: an address, or the name that an address has."""

    type: int
    value: str


def parse(data: bytes) -> Query | None:
    """The query in a message; None if it is no ordinary one."""
    try:
        number, flags, questions, _, _, extra = _HEADER.unpack_from(data)
        if flags & (_RESPONSE | _OPCODE) or questions != 1:
            return None
        name, end = _name(data, _HEADER.size)
        kind, kind_of_net = struct.unpack_from("!2H", data, end)
    except (struct.error, ValueError, IndexError):
        return None
    if kind_of_net != INTERNET:
        return None
    size = _udp_size(data, end + 4) if extra else LEAST_UDP
    return Query(number, bool(flags & _RECURSION), name, kind, data[_HEADER.size : end + 4], size)


def _name(data: bytes, offset: int) -> tuple[str, int]:
    """A name without compression, as questions have it, and where it ends."""
    labels: list[str] = []
    while length := data[offset]:
        if length > 63 or len(labels) >= _MOST_LABELS:
            raise ValueError(length)
        label = data[offset + 1 : offset + 1 + length]
        if len(label) < length:
            raise ValueError(length)
        labels.append(label.decode("latin-1"))
        offset += 1 + length
    return ".".join(labels).lower(), offset + 1


def _udp_size(data: bytes, offset: int) -> int:
    """What the sender takes over UDP, if an OPT record follows the question at once."""
    if data[offset : offset + 3] != b"\0\0\x29" or len(data) < offset + 5:
        return LEAST_UDP
    (size,) = struct.unpack_from("!H", data, offset + 3)
    return max(LEAST_UDP, min(int(size), MOST_UDP))


def answer(query: Query, records: list[Record], code: int = OK, *, limit: int = 65535) -> bytes:
    """An answer of ours of at most ``limit`` bytes; what does not fit is left out and said so."""
    flags = _RESPONSE | _AUTHORITATIVE | _AVAILABLE | (_RECURSION if query.recursion else 0) | code
    packed = [_record(record) for record in records]
    size = _HEADER.size + len(query.question)
    count = 0
    while count < len(packed) and size + len(packed[count]) <= limit:
        size += len(packed[count])
        count += 1
    if count < len(packed):
        flags |= _TRUNCATED
    return _HEADER.pack(query.id, flags, 1, count, 0, 0) + query.question + b"".join(packed[:count])


def _record(record: Record) -> bytes:
    if record.type == PTR:
        data = b"".join(_label(part) for part in record.value.split(".")) + b"\0"
    else:
        data = socket.inet_pton(socket.AF_INET6 if record.type == AAAA else socket.AF_INET, record.value)
    return struct.pack("!3HIH", 0xC000 | _HEADER.size, record.type, INTERNET, _TTL_S, len(data)) + data


def _label(part: str) -> bytes:
    raw = part.encode("latin-1", "replace")[:63]
    return bytes([len(raw)]) + raw


def number_of(data: bytes) -> int:
    """The number of a message."""
    return int.from_bytes(data[:2], "big")


def renumbered(data: bytes, number: int) -> bytes:
    """The same message under another number."""
    return number.to_bytes(2, "big") + data[2:]


def answers(data: bytes, query: bytes) -> bool:
    """Whether a message answers the question that ``query`` asked: number, direction and question agree."""
    if len(data) < _HEADER.size or data[:2] != query[:2] or not data[2] & 0x80:
        return False
    try:
        _, end = _name(query, _HEADER.size)
    except (ValueError, IndexError):
        return False
    asked, given = query[_HEADER.size : end + 4], data[_HEADER.size : end + 4]
    return data[4:6] == b"\0\0" or asked.lower() == given.lower()


def reversed_address(name: str) -> str:
    """The address that a PTR question is about; empty for other names."""
    labels = name.split(".")
    if name.endswith(".in-addr.arpa") and len(labels) == 6:
        return ".".join(reversed(labels[:4]))
    if name.endswith(".ip6.arpa") and len(labels) == 34 and all(len(digit) == 1 for digit in labels[:32]):
        digits = "".join(reversed(labels[:32]))
        try:
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
        except ValueError:
            return ""
    return ""
