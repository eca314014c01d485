"""One redirection in a network namespace: what is sent to an address and port of its own goes to other ports.

Ports are rewritten in each packet, there and back, instead of by the kernel's address translation: that would
make it keep track of every connection of the namespace, and look each packet up. What does keep track there
(a firewall in the container) sees both ways between the same two ports.

The batch of nf_tables messages is made here instead of by nft(8): it is the same for every container, and a
process for each would cost more than all the rest of its network (linux/netfilter/nf_tables.h).
"""

from __future__ import annotations

import socket
import struct

from onggi.errors import KernelError
from onggi.kernel import nft
from onggi.kernel.netlink import APPEND, CREATE, EXCL, Message, Netlink, attribute, is_missing, nest, text

_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE = 0, 1, 2, 3, 6
_LOCAL_OUT, _ACCEPT = 3, 1
_BEFORE_TRACKING, _BEHIND_TRACKING = -300, -150  # it comes at -200
_NETWORK, _TRANSPORT, _L4PROTO, _EQUAL, _OTHER = 1, 2, 16, 0, 1
_FIRST, _VERDICT = 1, 0  # registers
_SOURCE, _DESTINATION = 12, 16  # of addresses in the IP header
_PROTOCOLS = {"udp": socket.IPPROTO_UDP, "tcp": socket.IPPROTO_TCP}
_SUMS = {"udp": 6, "tcp": 16, "icmp": 2}  # where the checksum is
_UNREACHABLE, _QUOTED_PORT = 3, 30  # of ICMP; the refused packet's destination port is quoted that far behind


def redirect(netlink: Netlink, table: str, address: str, port: int, targets: dict[str, int]) -> bool:
    """Send packets for ``address`` and ``port`` to the port of their protocol in ``targets``, from now on.

    True if it replaces what an earlier call made. Raises KernelError if the kernel has no such filter.
    """
    fresh = messages(table, address, port, targets)
    known = _exists(netlink, table)
    if known:
        # Not in every transaction: the kernel waits 10 ms behind a deletion, when the socket is closed.
        fresh.insert(0, nft.message(_DELTABLE, 0, f"nft delete table ip {table}", text(1, table)))
    nft.transact(netlink, fresh)
    return known


def _exists(netlink: Netlink, table: str) -> bool:
    """Asked beforehand: behind a transaction that fails the kernel waits as well."""
    try:
        netlink.ask(nft.message(_GETTABLE, 0, f"nft list table ip {table}", text(1, table)))
    except KernelError as error:
        if is_missing(error):
            return False
        raise
    return True


def messages(table: str, address: str, port: int, targets: dict[str, int]) -> list[Message]:
    """The requests between the batch's edges, for a namespace without the table."""
    found = [
        nft.message(_NEWTABLE, CREATE | EXCL, f"nft create table ip {table}", text(1, table)),
        _chain(table, "ask", _BEFORE_TRACKING),
        _others(table, "ask", address, _DESTINATION),
        _chain(table, "answer", _BEHIND_TRACKING),
        _others(table, "answer", address, _SOURCE),
    ]
    for name, target in targets.items():
        found += [_port(table, "ask", name, port, target), _port(table, "answer", name, target, port)]
        if name == "udp":
            found.append(_refusal(table, "answer", target, port))
    return found


def _chain(table: str, name: str, priority: int) -> Message:
    hook = nest(4, _be32(1, _LOCAL_OUT), _be32(2, priority))
    parts = [text(1, table), text(3, name), hook, _be32(5, _ACCEPT), text(7, "filter")]
    return nft.message(_NEWCHAIN, CREATE, f"nft add chain ip {table} {name}", *parts)


def _others(table: str, chain: str, address: str, offset: int) -> Message:
    """Let go of what does not concern the address: nearly every packet ends here."""
    word = "daddr" if offset == _DESTINATION else "saddr"
    verdict = nest(2, _be32(1, _ACCEPT))
    return _rule(
        table,
        chain,
        f"ip {word} != {address} accept",
        _load(_NETWORK, offset, 4),
        _compare(socket.inet_aton(address), _OTHER),
        _expression("immediate", _be32(1, _VERDICT), nest(2, verdict)),
    )


def _port(table: str, chain: str, protocol: str, port: int, target: int) -> Message:
    offset, word = (2, "dport") if chain == "ask" else (0, "sport")
    rewritten = _rewritten(_SUMS[protocol], offset, port, target)
    what = f"{protocol} {word} {port} {protocol} {word} set {target}"
    return _rule(table, chain, what, *_spoken(_PROTOCOLS[protocol]), *rewritten)


def _refusal(table: str, chain: str, port: int, target: int) -> Message:
    """Nobody listens: who asked hears of it at once, about the port he asked."""
    bits = f"@th,{_QUOTED_PORT * 8},16"
    return _rule(
        table,
        chain,
        f"icmp type destination-unreachable {bits} {port} {bits} set {target}",
        *_spoken(socket.IPPROTO_ICMP),
        _load(_TRANSPORT, 0, 1),
        _compare(struct.pack("=B", _UNREACHABLE)),
        *_rewritten(_SUMS["icmp"], _QUOTED_PORT, port, target),
    )


def _spoken(protocol: int) -> list[bytes]:
    load = _expression("meta", _be32(1, _FIRST), _be32(2, _L4PROTO))
    return [load, _compare(struct.pack("=B", protocol))]


def _rewritten(checksum: int, offset: int, old: int, new: int) -> list[bytes]:
    """Compare a port of the packet, and write another over it."""
    place = [_be32(2, _TRANSPORT), _be32(3, offset), _be32(4, 2)]
    return [
        _load(_TRANSPORT, offset, 2),
        _compare(struct.pack("!H", old)),
        _expression("immediate", _be32(1, _FIRST), _data(2, struct.pack("!H", new))),
        _expression("payload", *place, _be32(5, _FIRST), _be32(6, 1), _be32(7, checksum), _be32(8, 0)),
    ]


def _load(base: int, offset: int, size: int) -> bytes:
    return _expression("payload", _be32(1, _FIRST), _be32(2, base), _be32(3, offset), _be32(4, size))


def _rule(table: str, chain: str, what: str, *expressions: bytes) -> Message:
    parts = [text(1, table), text(2, chain), nest(4, *expressions)]
    return nft.message(_NEWRULE, CREATE | APPEND, f"nft add rule ip {table} {chain} {what}", *parts)


def _compare(value: bytes, how: int = _EQUAL) -> bytes:
    return _expression("cmp", _be32(1, _FIRST), _be32(2, how), _data(3, value))


def _data(kind: int, value: bytes) -> bytes:
    return nest(kind, attribute(1, value))


def _expression(name: str, *attributes: bytes) -> bytes:
    return nest(1, text(1, name), nest(2, *attributes))


def _be32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!i", value))
