"""What a network and an endpoint want of the kernel, as lists of netlink messages and settings. Pure.

``Message.what`` of each is the ip(8) command that would do the same; golden files hold those.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from onggi.errors import InvalidArgument
from onggi.kernel import rtnl
from onggi.kernel.netlink import Message
from onggi.networks import model, rules
from onggi.networks.model import Endpoint, Network

MARK = "onggi"  # the alias of devices that this engine made
_ENDPOINT_SYSCTLS = "com.docker.network.endpoint.sysctls"


class Setting(NamedTuple):
    """A file below /proc/sys and what is written to it."""

    path: str
    value: str


def stable_mac(text: str) -> str:
    """A locally administered MAC that follows from ``text``."""
    digest = hashlib.sha256(text.encode()).digest()
    return bytes([digest[0] & 0xFC | 2, *digest[1:6]]).hex(":")


def bridge(network: Network) -> list[Message]:
    """Make the bridge."""
    name = network.bridge
    return [rtnl.add_bridge(name, stable_mac(network.id), network.mtu), rtnl.set_alias(name, MARK)]


def bridge_up(network: Network) -> list[Message]:
    """Let it work, and let the filters of every engine of this machine know it for one of ours."""
    return [rtnl.set_group(network.bridge, rules.GROUP), rtnl.set_up(network.bridge)]


def bridge_settings(network: Network) -> list[Setting]:
    """Before addresses: an IPv6 address of a device that has IPv6 switched off is refused."""
    four, six = f"net/ipv4/conf/{network.bridge}", f"net/ipv6/conf/{network.bridge}"
    ipv6 = "0" if network.enable_ipv6 else "1"
    return [
        # Ports published on the machine's loopback leave by the bridge; the chain ``guard`` lets nobody else.
        Setting(f"{four}/route_localnet", "1"),
        Setting(f"{six}/disable_ipv6", ipv6),
        Setting(f"{six}/accept_ra", "0"),
    ]


def bridge_addresses(network: Network, index: int, present: set[str]) -> list[Message]:
    """The gateways that the machine itself is, as far as they are not there yet."""
    own = [entry for entry in network.served if entry.gateway and not network.bare(entry.six)]
    wanted = [f"{entry.gateway}/{entry.length}" for entry in own]
    return [rtnl.add_address(index, address) for address in wanted if address not in present]


def host_side(network: Network, endpoint: Endpoint, parent: int, netns: int) -> list[Message]:
    """Make an interface in the container's namespace; ``parent`` is the bridge or the device below it."""
    peer = rtnl.Peer(endpoint.interface, endpoint.mac, netns)
    if network.driver == "macvlan":
        mode = network.options.get("macvlan_mode") or "bridge"
        return [rtnl.add_macvlan(parent, peer, mode, network.mtu)]
    if network.driver == "ipvlan":
        mode, flag = (network.options.get(f"ipvlan_{word}") or "" for word in ("mode", "flag"))
        return [rtnl.add_ipvlan(parent, peer, mode or "l2", flag or "bridge", network.mtu)]
    name = endpoint.host_link
    return [
        rtnl.add_veth(name, parent, peer, network.mtu),
        # Where bridges ask the packet filter (br_netfilter) a container reaches its own published port by its
        # own port of the bridge.
        rtnl.set_port(name, hairpin=True, isolated=not network.on(model.ICC)),
        rtnl.set_up_silent(name),
    ]


def inner_settings(endpoint: Endpoint, wish_options: dict[str, str]) -> list[Setting]:
    """For the container's namespace, before the interface is up."""
    six = f"net/ipv6/conf/{endpoint.interface}"
    settings = [Setting(f"{six}/accept_ra", "0")]  # routers of the segment are not to be believed (R21)
    settings.append(Setting(f"{six}/disable_ipv6", "0" if endpoint.ipv6 else "1"))
    for entry in filter(None, wish_options.get(_ENDPOINT_SYSCTLS, "").split(",")):
        name, equals, value = entry.partition("=")
        parts = name.split(".")
        right = len(parts) == 5 and parts[0] == "net" and parts[1] in ("ipv4", "ipv6", "mpls")
        if not right or not equals or parts[3].upper() != "IFNAME" or "/" in name:
            raise InvalidArgument(
                f"unrecognised network interface sysctl '{entry}'; represent 'net.X.Y.ethN.Z=V' as "
                "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )
        parts[3] = endpoint.interface
        settings.append(Setting("/".join(parts), value))
    return settings


def inner_side(endpoint: Endpoint, index: int) -> list[Message]:
    """Bring the interface up, with its addresses."""
    own = [address for address in (endpoint.ipv4, endpoint.ipv6) if address]
    own += [f"{address}/{64 if ':' in address else 16}" for address in endpoint.link_local]
    return [rtnl.set_up(endpoint.interface), *(rtnl.add_address(index, address) for address in own)]


def gateway_of(endpoints: list[tuple[str, Endpoint]], six: bool) -> Endpoint | None:
    """The endpoint (given with its network's name) whose gateway is the default: docker's order."""
    able = [entry for entry in endpoints if (entry[1].gateway6 if six else entry[1].gateway4)]
    first = min(able, key=lambda entry: (-entry[1].gw_priority, entry[0]), default=None)
    return first[1] if first else None


def default_route(endpoint: Endpoint, index: int, six: bool) -> Message:
    """``gateway`` :: or 0.0.0.0 means the device itself leads out (ipvlan l3)."""
    gateway = endpoint.gateway6 if six else endpoint.gateway4
    return rtnl.add_default_route(index, gateway, via_device=gateway in ("::", "0.0.0.0"))
