"""The packet filter: transactions through nft(8), and notice of what others do to our tables.

Messages are nfnetlink's (linux/netfilter/nf_tables.h).
"""

from __future__ import annotations

import errno
import os

from onggi.errors import KernelError, Unsupported
from onggi.kernel import process
from onggi.kernel.netlink import NETFILTER, Netlink, attributes

_PLACES = ("/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft")
_GROUP = 7  # NFNLGRP_NFTABLES
_SUBSYSTEM = 10
_NEW_GENERATION = 15
_DELETIONS = frozenset([2, 5, 8, 11, 14, 20, 25, *range(26, 32)])  # NFT_MSG_DEL* and NFT_MSG_DESTROY*
_TABLE = 1  # NFTA_*_TABLE, the same in every kind of message
_HEADER = 4  # struct nfgenmsg


def program() -> str:
    """Where nft(8) is; empty if it is not installed."""
    return next((path for path in _PLACES if os.access(path, os.X_OK)), "")


def apply(text: str) -> None:
    """Carry out commands as one transaction: all or nothing. Raises Unsupported or KernelError."""
    if not text:
        return
    done = run(["-f", "-"], text)
    if done.code != 0:
        first = next(iter(done.errors.decode("utf-8", "replace").splitlines()), f"exit status {done.code}")
        raise KernelError("nft", errno.EINVAL, first)


def run(arguments: list[str], text: str = "") -> process.Finished:
    """Run nft(8) in the calling thread's network namespace. Raises Unsupported if there is none."""
    path = program()
    if not path:
        raise Unsupported("networks need the program nft, which is not installed: apt install nftables")
    return process.run([path, *arguments], input=text.encode())


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
        return dict(attributes(body[_HEADER:])).get(_TABLE, b"").rstrip(b"\0") == self._name

    def close(self) -> None:
        self._netlink.close()
