"""The packet filter: transactions through nft(8), elements of maps without it, and notice of what others do.

Messages are nfnetlink's (linux/netfilter/nf_tables.h).
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
from collections.abc import Iterable, Sequence

from onggi.errors import KernelError, Unavailable, Unsupported
from onggi.kernel import process
from onggi.kernel.netlink import CREATE, NETFILTER, Message, Netlink, attribute, attributes, nest, text

_PLACES = ("/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft")
_GROUP = 7  # NFNLGRP_NFTABLES
_SUBSYSTEM = 10
_NEW_GENERATION = 15
_DELETIONS = frozenset([2, 5, 8, 11, 14, 20, 25, *range(26, 32)])  # NFT_MSG_DEL* and NFT_MSG_DESTROY*
_TABLE = 1  # NFTA_*_TABLE, the same in every kind of message
_HEADER = struct.Struct("!BBH")  # struct nfgenmsg
_BEGIN, _END = 0x10, 0x11
_NEW_ELEMENT, _DELETE_ELEMENT = 12, 14


def program() -> str:
    """Where nft(8) is; empty if it is not installed."""
    return next((path for path in _PLACES if os.access(path, os.X_OK)), "")


def apply(commands: str) -> None:
    """Carry out commands as one transaction: all or nothing. Raises Unsupported, Unavailable, KernelError."""
    if not commands:
        return
    done = run(["-f", "-"], commands)
    if done.code < 0:
        raise Unavailable(
            f"the program nft crashed (signal {-done.code}, {signal.strsignal(-done.code)}): try again; "
            "if it crashes again, update the package nftables"
        )
    if done.code != 0:
        first = next(iter(done.errors.decode("utf-8", "replace").splitlines()), f"exit status {done.code}")
        raise KernelError("nft", errno.EINVAL, first)


def run(arguments: list[str], commands: str = "") -> process.Finished:
    """Run nft(8) in the calling thread's network namespace. Raises Unsupported if there is none."""
    path = program()
    if not path:
        raise Unsupported("networks need the program nft, which is not installed: apt install nftables")
    return process.run([path, *arguments], input=commands.encode())


# -- messages ----------------------------------------------------------------------------------------------


def message(kind: int, flags: int, what: str, *parts: bytes, family: int = socket.AF_INET) -> Message:
    """One request of a transaction."""
    return Message(_SUBSYSTEM << 8 | kind, flags, _HEADER.pack(family, 0, 0) + b"".join(parts), what)


def transact(netlink: Netlink, messages: Sequence[Message]) -> None:
    """Carry out all of them or none. Raises KernelError.

    Whoever closes a socket by which something was deleted waits until no processor can see it (10 ms).
    """
    begin, end = (Message(kind, 0, _HEADER.pack(0, 0, _SUBSYSTEM), "") for kind in (_BEGIN, _END))
    netlink.batch(begin, messages, end)


def put(table: str, map_: str, elements: Iterable[tuple[bytes, bytes]], what: str, *, six: bool) -> Message:
    """Put pairs of ``joined`` keys and values into a map; a few hundred at most."""
    return _elements(_NEW_ELEMENT, CREATE, table, map_, elements, what, six)


def take(table: str, map_: str, elements: Iterable[tuple[bytes, bytes]], what: str, *, six: bool) -> Message:
    """Take elements out of a map; fails if one is not there."""
    return _elements(_DELETE_ELEMENT, 0, table, map_, elements, what, six)


def _elements(
    kind: int,
    flags: int,
    table: str,
    map_: str,
    elements: Iterable[tuple[bytes, bytes]],
    what: str,
    six: bool,
) -> Message:
    pairs = [nest(1, nest(1, attribute(1, key)), nest(2, attribute(1, value))) for key, value in elements]
    family = socket.AF_INET6 if six else socket.AF_INET
    return message(kind, flags, what, text(1, table), text(2, map_), nest(3, *pairs), family=family)


def joined(*parts: bytes) -> bytes:
    """A key or value of several parts, as in ``tcp . 80``."""
    return b"".join(part + b"\0" * (-len(part) % 4) for part in parts)


# -- notice ------------------------------------------------------------------------------------------------


class Watch:
    """Counts what is taken away from one table; ``others`` says whether other tables changed meanwhile."""

    def __init__(self, table: str) -> None:
        self._name = table.encode()
        self._netlink = Netlink(NETFILTER, [_GROUP])
        self._hit = False
        self.others = False

    def fileno(self) -> int:
        """Readable when something happened to any table."""
        return self._netlink.fileno()

    def losses(self) -> int:
        """In how many transactions since the last call something of our table was deleted."""
        count, self.others = 0, False
        while True:
            try:
                answers = self._netlink.read()
            except BlockingIOError:
                return count
            except OSError:  # ENOBUFS: some messages are lost, and who knows which
                count += 2
                continue
            for answer in answers:
                kind = answer.type & 0xFF
                if answer.type >> 8 != _SUBSYSTEM:
                    continue
                if kind != _NEW_GENERATION and not self._is_ours(answer.body):
                    self.others = True
                elif kind in _DELETIONS:
                    self._hit = True
                elif kind == _NEW_GENERATION:
                    count, self._hit = count + self._hit, False

    def _is_ours(self, body: bytes) -> bool:
        return dict(attributes(body[_HEADER.size :])).get(_TABLE, b"").rstrip(b"\0") == self._name

    def close(self) -> None:
        self._netlink.close()
