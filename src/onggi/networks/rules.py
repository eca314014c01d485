"""The packet filter that networks want, and the text for nft(8) or the messages that make it so. Pure.

One table of ours per family; nothing of anybody else's is touched. Its chains::

    guard      raw prerouting: what arrives for a container without having been sent to a published port (R21)
    publish    published ports to container addresses, for packets from outside and for our own
    inward     what may be forwarded to a container
    leave      source addresses of what leaves, of hairpins and of the machine's loopback

The guard is about subnets, not containers: a container that starts changes nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import NamedTuple

from onggi.kernel import nft
from onggi.kernel.netlink import Message
from onggi.networks import model
from onggi.networks.model import Network

GROUP = 0x6F67  # the group of network devices that the bridges of all engines of a machine are in
# Beside them, dockerd's bridges may forward: it keeps a filter of its own.
_STRANGERS = (
    f"iifgroup != {GROUP} oifgroup != {GROUP} "
    'iifname != "docker0" oifname != "docker0" iifname != "br-*" oifname != "br-*"'
)


_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_MOST = 500  # elements that one message holds: an attribute has 64 kB
_METADATA = {False: "169.254.169.254", True: "fd00:ec2::254"}


class Segment(NamedTuple):
    """One bridge and one of its subnets, as far as packets are concerned."""

    bridge: str
    subnet: str
    gateway: str
    internal: bool
    masquerade: bool
    guarded: bool

    @property
    def six(self) -> bool:
        return ":" in self.subnet


class Published(NamedTuple):
    """Traffic to ``address`` (empty for all of the machine's) and ``port`` goes to ``target``."""

    protocol: str
    address: str
    port: int
    target: str
    target_port: int

    @property
    def six(self) -> bool:
        return ":" in self.target


class Ruleset(NamedTuple):
    """Everything; ``closed`` refuses to forward for others, on a machine that did not before us.

    ``relayed``: ports are translated for the machine and its containers alone. Who comes from outside reaches
    the engine's socket, if the machine's rules for its own ports (INPUT) let him, and is relayed.
    ``secretive``: containers do not reach a cloud's metadata service, which hands out the machine's rights.
    """

    segments: tuple[Segment, ...] = ()
    published: frozenset[Published] = frozenset()
    closed: bool = False
    relayed: bool = False
    secretive: bool = False


def segments(networks: Iterable[Network]) -> tuple[Segment, ...]:
    """What the filter has to know of these networks."""
    found = (
        Segment(
            network.bridge,
            entry.subnet,
            entry.gateway,
            network.internal,
            network.on(model.MASQUERADE) and not network.internal,
            network.gateway_mode(entry.six) != "nat-unprotected",
        )
        for network in networks
        for entry in network.served
    )
    return tuple(sorted(found))


def transaction(table: str, wanted: Ruleset) -> str:
    """The commands that make all of it so, whatever is there, as one transaction."""
    return "".join(_replaced(table, wanted, six) for six in (False, True))


def exchange(table: str, old: Ruleset | None, new: Ruleset) -> list[Message] | None:
    """The messages that lead from ``old`` (None: unknown) to ``new``; None if more than some ports change."""
    if old is None or old._replace(published=new.published) != new:
        return None
    gone, fresh = old.published - new.published, new.published - old.published
    if len(gone) + len(fresh) > _MOST:
        return None
    return [*_messages(table, "delete", gone), *_messages(table, "add", fresh)]


def _family(six: bool) -> str:
    return "ip6" if six else "ip"


def _replaced(table: str, rules: Ruleset, six: bool) -> str:
    family = _family(six)
    own = [entry for entry in rules.segments if entry.six == six]
    # Named first, so that deleting it never fails.
    text = f"table {family} {table}\ndelete table {family} {table}\n"
    if not own and not any(entry.six == six for entry in rules.published):
        return text
    return f"{text}table {family} {table} {{\n{''.join(_chains(rules, own, six))}}}\n" + _elements(
        table, "add", {entry for entry in rules.published if entry.six == six}
    )


def _chains(rules: Ruleset, own: list[Segment], six: bool) -> list[str]:
    """The sets, maps and chains of one family."""
    family, kind = _family(six), "ipv6_addr" if six else "ipv4_addr"
    service, asked = "inet_proto . inet_service", "meta l4proto . th dport"
    only = "iifname @bridges " if rules.relayed else ""
    blocks = {
        "set bridges": ["type ifname", *_members(own)],
        "map published": [f"type {kind} . {service} : {kind} . inet_service"],
        "map everywhere": [f"type {service} : {kind} . inet_service"],
        "chain guard": [_hook("filter", "prerouting", "raw"), *_closed(rules, six), *_guard(own, six)],
        "chain publish": [
            f"dnat {family} to {family} daddr . {asked} map @published",
            f"dnat {family} to {asked} map @everywhere",
        ],
        "chain arrive": [_hook("nat", "prerouting", "dstnat"), f"{only}fib daddr type local jump publish"],
        "chain emit": [_hook("nat", "output", "-100"), "fib daddr type local jump publish"],
        "chain inward": ["ct state established,related accept", "ct status dnat accept", "drop"],
        "chain forward": [_hook("filter", "forward", "filter"), *_forward(rules, own)],
        "chain leave": [_hook("nat", "postrouting", "srcnat"), *_leave(own, six)],
    }
    return [_block(head, lines) for head, lines in blocks.items()]


def _hook(kind: str, hook: str, priority: str) -> str:
    return f"type {kind} hook {hook} priority {priority}; policy accept;"


def _block(head: str, lines: list[str]) -> str:
    return f"\t{head} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def _members(own: list[Segment]) -> list[str]:
    names = sorted({entry.bridge for entry in own})
    return [f"elements = {{ {', '.join(map(_quoted, names))} }}"] if names else []


def _quoted(name: str) -> str:
    return f'"{name}"'


def _closed(rules: Ruleset, six: bool) -> list[str]:
    # Before any address is translated, and whether the service is elsewhere or on the machine itself.
    return [f"iifname @bridges {_family(six)} daddr {_METADATA[six]} drop"] if rules.secretive else []


def _guard(own: list[Segment], six: bool) -> list[str]:
    # Every packet of the machine comes here: addresses are compared first, as names of devices cost more.
    # Loopback addresses are routed on our bridges, for published ports: nobody else may use that
    # (CVE-2020-8558).
    lines = [] if six else ['ip daddr 127.0.0.0/8 iifname != "lo" drop']
    for entry in own:
        if entry.guarded:
            family = _family(six)
            beside = f" {family} daddr != {entry.gateway}" if entry.gateway else ""
            other = f'iifname != {{ "lo", {_quoted(entry.bridge)} }}'
            lines.append(f"{family} daddr {entry.subnet}{beside} {other} drop")
    return lines


def _forward(rules: Ruleset, own: list[Segment]) -> list[str]:
    lines = []
    for entry in sorted({(entry.bridge, entry.internal, entry.guarded) for entry in own}):
        bridge, internal, guarded = _quoted(entry[0]), entry[1], entry[2]
        if internal:
            lines += [
                f"iifname {bridge} oifname != {bridge} drop",
                f"oifname {bridge} iifname != {bridge} drop",
            ]
        elif guarded:
            lines.append(f"oifname {bridge} iifname != {bridge} jump inward")
    if rules.closed:
        lines.append(f"{_STRANGERS} drop")
    return lines


def _leave(own: list[Segment], six: bool) -> list[str]:
    lines, family = [], _family(six)
    for entry in own:
        bridge = _quoted(entry.bridge)
        if entry.internal:
            continue
        if entry.masquerade:
            lines.append(f"{family} saddr {entry.subnet} oifname != {bridge} masquerade")
        # To a published port of a neighbour, or one's own: the answer has to come back this way.
        lines.append(f"{family} saddr {entry.subnet} oifname {bridge} ct status dnat masquerade")
    if not six:
        lines.append("oifname @bridges ip saddr 127.0.0.0/8 masquerade")
    return lines


def _elements(table: str, verb: str, published: Iterable[Published]) -> str:
    return "".join(
        _command(table, verb, place, entries) + "\n" for place, entries in _by_map(published).items()
    )


def _messages(table: str, verb: str, published: Iterable[Published]) -> Iterator[Message]:
    for (six, name), entries in _by_map(published).items():
        what = _command(table, verb, (six, name), entries)
        pairs = [_packed(entry) for entry in entries]
        yield (nft.put if verb == "add" else nft.take)(table, name, pairs, what, six=six)


def _by_map(published: Iterable[Published]) -> dict[tuple[bool, str], list[Published]]:
    groups: dict[tuple[bool, str], list[Published]] = {}
    for entry in sorted(published):
        groups.setdefault((entry.six, "published" if entry.address else "everywhere"), []).append(entry)
    return groups


def _command(table: str, verb: str, place: tuple[bool, str], entries: Iterable[Published]) -> str:
    rows = []
    for entry in entries:
        address = f"{entry.address} . " if entry.address else ""
        key = f"{address}{entry.protocol} . {entry.port}"
        rows.append(f"{key} : {entry.target} . {entry.target_port}")
    return f"{verb} element {_family(place[0])} {table} {place[1]} {{ {', '.join(rows)} }}"


def _packed(entry: Published) -> tuple[bytes, bytes]:
    """An element's key and value as the kernel has them."""
    address = [ip_address(entry.address).packed] if entry.address else []
    key = nft.joined(*address, bytes([_PROTOCOLS[entry.protocol]]), entry.port.to_bytes(2, "big"))
    return key, nft.joined(ip_address(entry.target).packed, entry.target_port.to_bytes(2, "big"))
