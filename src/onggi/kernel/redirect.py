"""One redirection in a network namespace: what is sent to an address and port of its own goes to other ports.

The batch of nf_tables messages is made here instead of by nft(8): it is the same for every container, and a
process for each would cost more than all the rest of its network (linux/netfilter/nf_tables.h).
"""

from __future__ import annotations

import socket
import struct

from onggi.kernel.netlink import APPEND, CREATE, Message, Netlink, attribute, nest, text

_SUBSYSTEM = 10
_BEGIN, _END = 0x10, 0x11
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE = 0, 2, 3, 6
_LOCAL_OUT, _PRIORITY_DNAT, _ACCEPT, _DNAT = 3, -100, 1, 1
_NETWORK, _TRANSPORT, _L4PROTO, _EQUAL = 1, 2, 16, 0
_FIRST, _SECOND = 1, 2  # registers
_PROTOCOLS = {"udp": socket.IPPROTO_UDP, "tcp": socket.IPPROTO_TCP}


def redirect(netlink: Netlink, table: str, address: str, port: int, targets: dict[str, int]) -> None:
    """Send packets for ``address`` and ``port`` to the port of their protocol in ``targets``, from now on.

    Replaces what an earlier call made. Raises KernelError if the kernel has no such filter.
    """
    netlink.batch(_edge(_BEGIN), messages(table, address, port, targets), _edge(_END))


def messages(table: str, address: str, port: int, targets: dict[str, int]) -> list[Message]:
    """The requests between the batch's edges."""
    hook = nest(4, _be32(1, _LOCAL_OUT), _be32(2, _PRIORITY_DNAT))
    chain = [text(1, table), text(3, "out"), hook, _be32(5, _ACCEPT), text(7, "nat")]
    return [
        _message(_NEWTABLE, CREATE, f"nft add table ip {table}", text(1, table)),
        _message(_DELTABLE, 0, f"nft delete table ip {table}", text(1, table)),
        _message(_NEWTABLE, CREATE, f"nft add table ip {table}", text(1, table)),
        _message(_NEWCHAIN, CREATE, f"nft add chain ip {table} out", *chain),
        *(_rule(table, name, address, port, target) for name, target in targets.items()),
    ]


def _rule(table: str, protocol: str, address: str, port: int, target: int) -> Message:
    to = socket.inet_aton(address)
    expressions = [
        _expression("payload", _be32(1, _FIRST), _be32(2, _NETWORK), _be32(3, 16), _be32(4, 4)),
        _compare(to),
        _expression("meta", _be32(1, _FIRST), _be32(2, _L4PROTO)),
        _compare(struct.pack("=B", _PROTOCOLS[protocol])),
        _expression("payload", _be32(1, _FIRST), _be32(2, _TRANSPORT), _be32(3, 2), _be32(4, 2)),
        _compare(struct.pack("!H", port)),
        _expression("immediate", _be32(1, _FIRST), _data(2, to)),
        _expression("immediate", _be32(1, _SECOND), _data(2, struct.pack("!H", target))),
        _expression("nat", _be32(1, _DNAT), _be32(2, socket.AF_INET), _be32(3, _FIRST), _be32(5, _SECOND)),
    ]
    what = (
        f"nft add rule ip {table} out ip daddr {address} {protocol} dport {port} dnat to {address}:{target}"
    )
    return _message(_NEWRULE, CREATE | APPEND, what, text(1, table), text(2, "out"), nest(4, *expressions))


def _compare(value: bytes) -> bytes:
    return _expression("cmp", _be32(1, _FIRST), _be32(2, _EQUAL), _data(3, value))


def _data(kind: int, value: bytes) -> bytes:
    return nest(kind, attribute(1, value))


def _expression(name: str, *attributes: bytes) -> bytes:
    return nest(1, text(1, name), nest(2, *attributes))


def _be32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!i", value))


def _message(kind: int, flags: int, what: str, *attributes: bytes) -> Message:
    header = struct.pack("!BBH", socket.AF_INET, 0, 0)
    return Message(_SUBSYSTEM << 8 | kind, flags, header + b"".join(attributes), what)


def _edge(kind: int) -> Message:
    return Message(kind, 0, struct.pack("!BBH", socket.AF_UNSPEC, 0, _SUBSYSTEM), "")
