"""Links, addresses and routes: the part of rtnetlink(7) that containers need.

Each function makes one message; ``Netlink.change`` carries out a list of them as one batch. Links are named
where the kernel takes names, so that a batch needs no answer in between; addresses and routes want an index.
Addresses are text with a prefix length, MACs are ``02:00:00:00:00:01``.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from onggi.errors import KernelError
from onggi.kernel.netlink import (
    CREATE,
    DUMP,
    EXCL,
    Message,
    Netlink,
    attribute,
    attributes,
    is_missing,
    nest,
    text,
    u8,
    u32,
)

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 17, 18, 20, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_LINK, _ADDRESS, _ROUTE = struct.Struct("=BxHiII"), struct.Struct("=BBBBi"), struct.Struct("=BBBBBBBBI")
_COUNTERS, _STATS64 = struct.Struct("=8Q"), 23
_UP = 1
# IFLA_*
_MAC, _NAME, _MTU, _PARENT, _MASTER, _INFO, _ALIAS, _AF_SPEC, _GROUP = 1, 3, 4, 5, 10, 18, 20, 26, 27
_NETNS_FD, _KIND, _DATA, _PORT_KIND, _PORT_DATA = 28, 1, 2, 4, 5
_PEER, _MACVLAN_MODE, _IPVLAN_MODE, _IPVLAN_FLAGS, _VLAN_ID, _HAIRPIN, _ISOLATED = 1, 1, 1, 2, 1, 4, 33
_INET6_GEN_MODE, _GEN_NONE = 8, 1
_BRIDGE_STP, _BRIDGE_SNOOPING = 5, 23
# IFA_*, RTA_*
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS, _NODAD = 1, 2, 4, 8, 2
_RTA_DST, _RTA_OUT, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_TABLE_MAIN, _PROTOCOL_STATIC, _UNICAST = 254, 4, 1
_SCOPE_LINK, _SCOPE_GLOBAL = 253, 0
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}


class Link(NamedTuple):
    """A network device; ``master`` and ``parent`` are numbers of others, 0 for none."""

    number: int
    name: str
    kind: str = ""
    mac: str = ""
    mtu: int = 0
    up: bool = False
    master: int = 0
    parent: int = 0
    alias: str = ""


class Address(NamedTuple):
    device: int
    address: str  # with its prefix length


class Route(NamedTuple):
    """``destination`` is empty for a default route."""

    destination: str
    gateway: str
    device: int
    table: int


# -- requests ----------------------------------------------------------------------------------------------


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _packed(address: str) -> bytes:
    return socket.inet_pton(_family(address), address.partition("/")[0])


def _mac(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))


def _link(*parts: bytes, up: bool = False, index: int = 0) -> bytes:
    flags = _UP if up else 0
    return _LINK.pack(socket.AF_UNSPEC, 0, index, flags, flags) + b"".join(parts)


def add_bridge(name: str, mac: str, mtu: int = 0) -> Message:
    """A bridge that is up; its MAC is fixed, or it would change with its ports."""
    # Multicast snooping without a querier drops neighbour discovery between containers.
    data = nest(_DATA, u32(_BRIDGE_STP, 0), u8(_BRIDGE_SNOOPING, 0))
    parts = [text(_NAME, name), attribute(_MAC, _mac(mac)), nest(_INFO, text(_KIND, "bridge"), data)]
    parts += [u32(_MTU, mtu)] if mtu else []
    what = f"ip link add {name} address {mac}{f' mtu {mtu}' if mtu else ''} up type bridge"
    return Message(_NEWLINK, CREATE | EXCL, _link(*parts, up=True), what)


class Peer(NamedTuple):
    """The container's end of a pair: made in the namespace of ``netns`` under its final name."""

    name: str
    mac: str
    netns: int


def add_veth(name: str, bridge: int, peer: Peer, mtu: int = 0) -> Message:
    """A pair of devices, both down: ours is a port of ``bridge``, the other is in the container already."""
    size = [u32(_MTU, mtu)] if mtu else []
    other = [text(_NAME, peer.name), attribute(_MAC, _mac(peer.mac)), u32(_NETNS_FD, peer.netns), *size]
    data = nest(_DATA, attribute(_PEER | 0x8000, _link(*other)))
    body = _link(text(_NAME, name), u32(_MASTER, bridge), *size, nest(_INFO, text(_KIND, "veth"), data))
    large = f" mtu {mtu}" if mtu else ""
    what = f"ip link add {name} master {bridge}{large} type veth"
    what += f" peer name {peer.name} address {peer.mac}{large} netns {peer.netns}"
    return Message(_NEWLINK, CREATE | EXCL, body, what)


def set_up_silent(name: str) -> Message:
    """Up without a link-local address: a port of a bridge needs none."""
    silent = nest(_AF_SPEC, nest(socket.AF_INET6, u8(_INET6_GEN_MODE, _GEN_NONE)))
    return Message(
        _NEWLINK, 0, _link(text(_NAME, name), silent, up=True), f"ip link set {name} addrgenmode none up"
    )


def set_port(name: str, *, hairpin: bool, isolated: bool) -> Message:
    """How a port of a bridge is served: frames back to where they came from, none to other isolated ports."""
    flags = nest(_PORT_DATA, u8(_HAIRPIN, hairpin), u8(_ISOLATED, isolated))
    body = _link(text(_NAME, name), nest(_INFO, text(_PORT_KIND, "bridge"), flags))
    words = " ".join(
        f"{key} {'on' if on else 'off'}" for key, on in (("hairpin", hairpin), ("isolated", isolated))
    )
    return Message(_NEWLINK, 0, body, f"ip link set {name} type bridge_slave {words}")


def add_vlan(name: str, parent: int, number: int) -> Message:
    """A sub-interface of a trunk, up."""
    info = nest(_INFO, text(_KIND, "vlan"), nest(_DATA, attribute(_VLAN_ID, struct.pack("=H", number))))
    what = f"ip link add {name} link {parent} up type vlan id {number}"
    return Message(
        _NEWLINK, CREATE | EXCL, _link(text(_NAME, name), u32(_PARENT, parent), info, up=True), what
    )


def add_sink(name: str, kind: str) -> Message:
    """A device, up, of a ``kind`` that drops what is sent by it: ``dummy`` or ``ifb``."""
    body = _link(text(_NAME, name), nest(_INFO, text(_KIND, kind)), up=True)
    return Message(_NEWLINK, CREATE | EXCL, body, f"ip link add {name} up type {kind}")


def add_macvlan(parent: int, peer: Peer, mode: str, mtu: int = 0) -> Message:
    """A device on ``parent`` with a MAC of its own, in the container."""
    data = nest(_DATA, u32(_MACVLAN_MODE, MACVLAN_MODES[mode]))
    mac = attribute(_MAC, _mac(peer.mac))
    return _child(parent, peer, mtu, nest(_INFO, text(_KIND, "macvlan"), data), f"macvlan mode {mode}", mac)


def add_ipvlan(parent: int, peer: Peer, mode: str, flag: str = "bridge", mtu: int = 0) -> Message:
    """A device that shares the MAC of ``parent``, in the container."""
    numbers = ((_IPVLAN_MODE, IPVLAN_MODES[mode]), (_IPVLAN_FLAGS, IPVLAN_FLAGS[flag]))
    data = nest(_DATA, *(attribute(kind, struct.pack("=H", number)) for kind, number in numbers))
    info = nest(_INFO, text(_KIND, "ipvlan"), data)
    return _child(parent, peer, mtu, info, f"ipvlan mode {mode} {flag}")


def _child(parent: int, peer: Peer, mtu: int, info: bytes, kind: str, *more: bytes) -> Message:
    parts = [text(_NAME, peer.name), u32(_PARENT, parent), u32(_NETNS_FD, peer.netns), info, *more]
    parts += [u32(_MTU, mtu)] if mtu else []
    address = f" address {peer.mac}" if more else ""
    what = f"ip link add {peer.name} link {parent}{address} netns {peer.netns}"
    what += f"{f' mtu {mtu}' if mtu else ''} type {kind}"
    return Message(_NEWLINK, CREATE | EXCL, _link(*parts), what)


def delete_link(name: str) -> Message:
    return Message(_DELLINK, 0, _link(text(_NAME, name)), f"ip link del {name}")


def set_up(name: str) -> Message:
    return Message(_NEWLINK, 0, _link(text(_NAME, name), up=True), f"ip link set {name} up")


def set_group(name: str, group: int) -> Message:
    """Let the packet filter know a device by the ``group`` it is in."""
    body = _link(text(_NAME, name), u32(_GROUP, group))
    return Message(_NEWLINK, 0, body, f"ip link set {name} group {group}")


def set_alias(name: str, alias: str) -> Message:
    """A word of ours on a device, for whoever looks."""
    body = _link(text(_NAME, name), text(_ALIAS, alias))
    return Message(_NEWLINK, 0, body, f"ip link set {name} alias {alias}")


def add_address(index: int, address: str) -> Message:
    """An address with its prefix length; IPv6 ones are usable at once, as ours are never taken twice."""
    family, length = _family(address), int(address.partition("/")[2])
    packed = _packed(address)
    parts = [attribute(_IFA_LOCAL, packed), attribute(_IFA_ADDRESS, packed)]
    if family == socket.AF_INET6:
        parts.append(u32(_IFA_FLAGS, _NODAD))
    elif length < 31:
        mask = (1 << (32 - length)) - 1
        parts.append(attribute(_IFA_BROADCAST, struct.pack("!I", struct.unpack("!I", packed)[0] | mask)))
    body = _ADDRESS.pack(family, length, 0, _SCOPE_GLOBAL, index) + b"".join(parts)
    nodad = " nodad" if family == socket.AF_INET6 else " brd +"
    return Message(_NEWADDR, CREATE | EXCL, body, f"ip addr add {address} dev {index}{nodad}")


def add_default_route(index: int, gateway: str, *, via_device: bool = False) -> Message:
    """A default route by ``gateway``, or by the device alone."""
    family = _family(gateway)
    scope = _SCOPE_LINK if via_device and family == socket.AF_INET else _SCOPE_GLOBAL
    parts = [u32(_RTA_OUT, index)]
    parts += [] if via_device else [attribute(_RTA_GATEWAY, _packed(gateway))]
    six = "-6 " if family == socket.AF_INET6 else ""
    way = f"dev {index}" if via_device else f"via {gateway} dev {index}"
    body = _ROUTE.pack(family, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, scope, _UNICAST, 0) + b"".join(parts)
    return Message(_NEWROUTE, CREATE | EXCL, body, f"ip {six}route add default {way}")


def delete_default_route(family: int) -> Message:
    body = _ROUTE.pack(family, 0, 0, 0, _TABLE_MAIN, 0, 255, 0, 0)
    six = "-6 " if family == socket.AF_INET6 else ""
    return Message(_DELROUTE, 0, body, f"ip {six}route del default")


# -- questions ---------------------------------------------------------------------------------------------


def links(netlink: Netlink) -> list[Link]:
    """Every device of the namespace."""
    return [_parse_link(body) for body in netlink.ask(Message(_GETLINK, DUMP, _link(), "ip link"))]


def link(netlink: Netlink, name: str) -> Link | None:
    """The device of that name, if there is one."""
    body = _show(netlink, name)
    return _parse_link(body) if body else None


def _show(netlink: Netlink, name: str) -> bytes:
    """What the kernel says of one device; empty if there is none of that name."""
    try:
        return netlink.ask(Message(_GETLINK, 0, _link(text(_NAME, name)), f"ip link show {name}"))[0]
    except KernelError as error:
        if is_missing(error):
            return b""
        raise


def _parse_link(body: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = dict(attributes(body[_LINK.size :]))
    info = dict(attributes(found.get(_INFO, b"")))
    return Link(
        index,
        _string(found.get(_NAME, b"")),
        _string(info.get(_KIND, b"")),
        found.get(_MAC, b"").hex(":"),
        _number(found.get(_MTU, b"")),
        bool(flags & _UP),
        _number(found.get(_MASTER, b"")),
        _number(found.get(_PARENT, b"")),
        _string(found.get(_ALIAS, b"")),
    )


class Statistics(NamedTuple):
    """The first counters of IFLA_STATS64."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


def statistics(netlink: Netlink, name: str) -> Statistics | None:
    """What a device has carried; None if there is no such device."""
    if not (body := _show(netlink, name)):
        return None
    return Statistics(*_COUNTERS.unpack_from(dict(attributes(body[_LINK.size :]))[_STATS64]))


def addresses(netlink: Netlink) -> list[Address]:
    """Every address of the namespace."""
    found = []
    for body in netlink.ask(Message(_GETADDR, DUMP, _ADDRESS.pack(0, 0, 0, 0, 0), "ip addr")):
        family, length, _, _, index = _ADDRESS.unpack_from(body)
        parts = dict(attributes(body[_ADDRESS.size :]))
        packed = parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS)
        if packed and family in (socket.AF_INET, socket.AF_INET6):
            found.append(Address(index, f"{socket.inet_ntop(family, packed)}/{length}"))
    return found


def routes(netlink: Netlink) -> list[Route]:
    """Every unicast route of the namespace, whatever its table."""
    found = []
    question = Message(_GETROUTE, DUMP, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0), "ip route show table all")
    for body in netlink.ask(question):
        family, length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
        if kind != _UNICAST or family not in (socket.AF_INET, socket.AF_INET6):
            continue
        parts = dict(attributes(body[_ROUTE.size :]))
        target, gateway = parts.get(_RTA_DST), parts.get(_RTA_GATEWAY)
        found.append(
            Route(
                f"{socket.inet_ntop(family, target)}/{length}" if target else "",
                socket.inet_ntop(family, gateway) if gateway else "",
                _number(parts.get(_RTA_OUT, b"")),
                _number(parts.get(_RTA_TABLE, b"")) or table,
            )
        )
    return found


def _string(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "replace")


def _number(data: bytes) -> int:
    return int(struct.unpack("=I", data)[0]) if len(data) == 4 else 0
