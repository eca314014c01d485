"""Netlink sockets: several requests in one message to the kernel, answers by number.

The layout of messages and attributes is netlink(7)'s; what is in them belongs to ``rtnl`` and ``nftables``.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

from onggi.errors import KernelError

ROUTE, NETFILTER = 0, 12
REQUEST, ACK, ROOT, MATCH, EXCL, CREATE, APPEND = 1, 4, 0x100, 0x200, 0x200, 0x400, 0x800
DUMP = ROOT | MATCH
NESTED = 0x8000
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _ADD_MEMBERSHIP, _CAP_ACK, _EXT_ACK = 270, 1, 10, 11
_ACK_TLVS = 0x200  # flag of an answer: attributes follow
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
_BUFFER = 1 << 18
_RCVBUFFORCE, _MULTICAST_BUFFER = 33, 16 << 20


class Message(NamedTuple):
    """One request. ``what`` is the command that would do the same: for errors, logs and golden files."""

    type: int
    flags: int
    body: bytes
    what: str


class Answer(NamedTuple):
    """One message from the kernel."""

    type: int
    flags: int
    number: int
    body: bytes


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(size, kind) + data + b"\0" * (-size % 4)


def nest(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A string with its final zero."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    """In the machine's byte order, as rtnetlink has it."""
    return attribute(kind, struct.pack("=I", value))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each attribute."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[offset + _ATTRIBUTE.size : offset + size]
        offset += (size + 3) & ~3


class Netlink:
    """A socket of one protocol in the network namespace of the thread that made it."""

    def __init__(self, protocol: int = ROUTE, groups: Sequence[int] = ()) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._number = 0
        try:
            self._socket.bind((0, 0))
            for option in (_CAP_ACK, _EXT_ACK):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            if groups:  # what is multicast while nobody reads has to fit
                self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _MULTICAST_BUFFER)
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError as error:
            self._socket.close()
            raise KernelError("netlink", error.errno or 0) from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def change(self, messages: Sequence[Message]) -> None:
        """Carry out every message, in order; raises KernelError for the first that failed.

        The kernel goes on behind a failure: whoever needs all or nothing undoes what was done.
        """
        if not messages:
            return
        first, last = self._number + 1, self._number + len(messages)
        # Failures are told in any case, and in order: only the last one has to say that it is done.
        parts = [self._packed(message, 0) for message in messages[:-1]]
        self._socket.send(b"".join([*parts, self._packed(messages[-1], ACK)]))
        failed: KernelError | None = None
        done = False
        while not done:
            for answer in self._receive():
                if answer.type != _ERROR or answer.number < first:
                    continue
                done = answer.number == last
                failed = failed or error_of(answer, messages[answer.number - first].what)
        if failed:
            raise failed

    def batch(self, begin: Message, messages: Sequence[Message], end: Message) -> None:
        """Carry out every message or none, between the edges of a transaction. Raises KernelError."""
        edges, first = {0, len(messages) + 1}, self._number + 1
        everything = [begin, *messages, end]
        parts = [
            self._packed(message, 0 if place in edges else ACK) for place, message in enumerate(everything)
        ]
        self._socket.send(b"".join(parts))
        failed: KernelError | None = None
        left = len(messages)
        while left and not failed:
            for answer in self._receive():
                if answer.type == _ERROR and first <= answer.number < first + len(everything):
                    left -= 1
                    failed = failed or error_of(answer, everything[answer.number - first].what)
        if failed:
            raise failed

    def ask(self, message: Message) -> list[bytes]:
        """The bodies that answer one question, a dump or not."""
        self._socket.send(self._packed(message, 0 if message.flags & DUMP == DUMP else ACK))
        bodies: list[bytes] = []
        while True:
            for answer in self._receive():
                if answer.number != self._number:
                    continue
                if answer.type == _ERROR:
                    if failure := error_of(answer, message.what):
                        raise failure
                    return bodies
                if answer.type == _DONE:
                    return bodies
                bodies.append(answer.body)

    def read(self) -> list[Answer]:
        """What was multicast to us; raises BlockingIOError if nothing is, OSError if some of it is lost."""
        return list(_split(self._socket.recv(_BUFFER, socket.MSG_DONTWAIT)))

    def _packed(self, message: Message, flags: int) -> bytes:
        self._number += 1
        size = _HEADER.size + len(message.body)
        header = _HEADER.pack(size, message.type, message.flags | flags | REQUEST, self._number, 0)
        return header + message.body + b"\0" * (-size % 4)

    def _receive(self) -> Iterator[Answer]:
        return _split(self._socket.recv(_BUFFER))


def _split(data: bytes) -> Iterator[Answer]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        size, kind, flags, number, _ = _HEADER.unpack_from(data, offset)
        yield Answer(kind, flags, number, data[offset + _HEADER.size : offset + size])
        offset += (size + 3) & ~3


def error_of(answer: Answer, what: str) -> KernelError | None:
    """The failure that an answer reports, with the kernel's own words where it has some."""
    (code,) = _ERRNO.unpack_from(answer.body)
    if code == 0:
        return None
    said = ""
    if answer.flags & _ACK_TLVS:
        # With CAP_ACK the answer repeats the header of the request alone.
        said = dict(attributes(answer.body[_ERRNO.size + _HEADER.size :])).get(1, b"").rstrip(b"\0").decode()
    return KernelError("netlink", -code, what, said)


def is_missing(error: KernelError) -> bool:
    """Whether the object of a request was not there."""
    return error.errno in (errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL)


def sysctl(path: str, value: str) -> None:
    """Write below /proc/sys, as the calling thread's network namespace sees it."""
    fd = os.open(f"/proc/sys/{path}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
