"""Carries out plans: bridges on the machine, interfaces in containers. All on the networks' own thread."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_network
from typing import NamedTuple

from onggi.errors import Conflict, KernelError, Unsupported
from onggi.kernel import rtnl
from onggi.kernel.netlink import NETFILTER, Message, Netlink, is_missing, sysctl
from onggi.kernel.redirect import redirect
from onggi.networks import plans
from onggi.networks.ipam import AnyNetwork
from onggi.networks.kernel_thread import inside
from onggi.networks.model import Endpoint, Network
from onggi.networks.plans import Setting

RESOLVER = "127.0.0.11"
_QUIET = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_FORWARD4, _FORWARD6 = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"


class Wire(NamedTuple):
    """One endpoint to be made: its network, and driver options of the wish."""

    network: Network
    endpoint: Endpoint
    options: dict[str, str]


# -- the machine -------------------------------------------------------------------------------------------


def routed(netlink: Netlink, beside: frozenset[str] = frozenset()) -> list[AnyNetwork]:
    """The machine's destinations, but for default routes and those of the devices ``beside``."""
    names = {link.number: link.name for link in rtnl.links(netlink)}
    found = {route.destination for route in rtnl.routes(netlink) if names.get(route.device) not in beside}
    nets = [ip_network(text, strict=False) for text in found if text]
    # Each interface has fe80::/64; half the Internet by a VPN's trick is a default route, too.
    return [net for net in nets if not net.is_link_local and net.prefixlen > 1]


def make_bridge(netlink: Netlink, network: Network) -> None:
    """Make sure the network's bridge is there, with its addresses. Idempotent."""
    link = rtnl.link(netlink, network.bridge)
    if link is None:
        netlink.change(plans.bridge(network))
        link = rtnl.link(netlink, network.bridge)
    if link is None or link.kind != "bridge":
        raise Conflict(f"the device {network.bridge} of network {network.name} is no bridge")
    _set(plans.bridge_settings(network))
    present = {entry.address for entry in rtnl.addresses(netlink) if entry.device == link.number}
    netlink.change([*plans.bridge_addresses(network, link.number, present), *plans.bridge_up(network)])


def remove_device(netlink: Netlink, name: str, *, named: bool) -> None:
    """Remove a network's device; one that a person ``named`` only if this engine made it. Idempotent."""
    link = rtnl.link(netlink, name) if named else None
    if not named or (link is not None and link.alias == plans.MARK):
        _forgiving(netlink, [rtnl.delete_link(name)])


def forwards(six: bool) -> bool:
    """Whether the machine forwards packets."""
    with open(f"/proc/sys/{_FORWARD6 if six else _FORWARD4}", encoding="ascii") as file:
        return file.read().strip() != "0"


def forward(netlink: Netlink, six: bool) -> None:
    """Let the machine forward packets."""
    if six:
        # A machine that forwards ignores routers' advertisements, its own default route with them, unless
        # told to go on.
        for link in rtnl.links(netlink):
            path = f"net/ipv6/conf/{link.name}/accept_ra"
            with contextlib.suppress(OSError), open(f"/proc/sys/{path}", encoding="ascii") as file:
                if file.read().strip() == "1":
                    sysctl(path, "2")
    sysctl(_FORWARD6 if six else _FORWARD4, "1")


def _set(settings: Sequence[Setting]) -> None:
    for setting in settings:
        try:
            sysctl(setting.path, setting.value)
        except FileNotFoundError:
            if "/ipv6/" in setting.path:
                continue  # a machine without IPv6 has nothing to switch off
            raise KernelError("open", errno.ENOENT, f"/proc/sys/{setting.path}") from None
        except OSError as error:
            raise KernelError("write", error.errno or 0, f"/proc/sys/{setting.path}") from None


def _forgiving(netlink: Netlink, messages: Sequence[Message]) -> None:
    """Carry out what undoes something: it may be undone already."""
    for message in messages:
        try:
            netlink.change([message])
        except KernelError as error:
            if not is_missing(error):
                raise


# -- containers --------------------------------------------------------------------------------------------


def connect(
    netlink: Netlink, netns: int, wires: Sequence[Wire], routes: Sequence[tuple[Endpoint, bool]]
) -> None:
    """Make interfaces in the namespace ``netns``, and its default ``routes``; undone if one step fails."""
    made: list[Endpoint] = []
    try:
        for wire in wires:
            made.append(wire.endpoint)
            _make(netlink, wire, netns)
        with inside(netns), Netlink() as inner:
            _configure(inner, wires, routes)
    except BaseException:
        disconnect(netlink, netns, made, [])
        raise


def _make(netlink: Netlink, wire: Wire, netns: int) -> None:
    network = wire.network
    name = network.bridge if network.driver == "bridge" else network.parent
    parent = rtnl.link(netlink, name)
    if parent is None:
        raise Conflict(f"the device {name} of network {network.name} is gone")
    try:
        netlink.change(plans.host_side(network, wire.endpoint, parent.number, netns))
    except KernelError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise Unsupported(f"this kernel has no {network.driver} devices ({error.path})") from None
        raise


def _configure(inner: Netlink, wires: Sequence[Wire], routes: Sequence[tuple[Endpoint, bool]]) -> None:
    messages: list[Message] = []
    for wire in wires:
        _set(plans.inner_settings(wire.endpoint, wire.options))
        link = rtnl.link(inner, wire.endpoint.interface)
        assert link is not None
        messages += plans.inner_side(wire.endpoint, link.number)
        messages += [
            plans.default_route(entry, link.number, six) for entry, six in routes if entry is wire.endpoint
        ]
    inner.change(messages)


def _route(inner: Netlink, routes: Sequence[tuple[Endpoint, bool]]) -> None:
    for endpoint, six in routes:
        link = rtnl.link(inner, endpoint.interface)
        if link is not None:
            inner.change([plans.default_route(endpoint, link.number, six)])


def open_resolver(netns: int) -> tuple[socket.socket, socket.socket]:
    """Sockets in a container's namespace that hear what is sent to ``RESOLVER``, port 53, over UDP and TCP.

    Port 53 itself stays free for a name server in the container.
    """
    with inside(netns):
        datagrams, stream = _bound(0)
        try:
            _lead({"udp": datagrams.getsockname()[1], "tcp": stream.getsockname()[1]})
        except KernelError:
            # A kernel without nf_tables: the port itself, then.
            datagrams.close()
            stream.close()
            datagrams, stream = _bound(53)
        stream.listen(64)
        return datagrams, stream


def _lead(ports: dict[str, int]) -> None:
    netlink = Netlink(NETFILTER)
    close = netlink.close
    try:
        if redirect(netlink, "onggi_resolver", RESOLVER, 53, ports):
            # Behind an earlier engine's rules it takes 10 ms, and the next container waits for this thread.
            close = threading.Thread(target=netlink.close, name="closing").start
    finally:
        close()


def _bound(port: int) -> tuple[socket.socket, socket.socket]:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | _QUIET)
    stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM | _QUIET)
    for sock in (datagrams, stream):
        sock.bind((RESOLVER, port))
    return datagrams, stream


def disconnect(
    netlink: Netlink, netns: int, endpoints: Sequence[Endpoint], routes: Sequence[tuple[Endpoint, bool]]
) -> None:
    """Take interfaces away again and leave the default ``routes`` of what stays. Idempotent."""
    _forgiving(netlink, [rtnl.delete_link(entry.host_link) for entry in endpoints if entry.host_link])
    with inside(netns), Netlink() as inner:
        _forgiving(inner, [rtnl.delete_link(entry.interface) for entry in endpoints if not entry.host_link])
        reroute(inner, routes)


def reroute(inner: Netlink, routes: Sequence[tuple[Endpoint, bool]]) -> None:
    """Replace the default routes of the namespace that ``inner`` is in."""
    if routes:
        families = {socket.AF_INET6 if six else socket.AF_INET for _, six in routes}
        _forgiving(inner, [rtnl.delete_default_route(family) for family in families])
        _route(inner, routes)


def counters(netlink: Netlink, links: dict[str, str]) -> dict[str, dict[str, int]]:
    """Traffic of interfaces by name, read at their other ends: what one sends the other receives."""
    found = {}
    for name, interface in links.items():
        numbers = rtnl.statistics(netlink, name)
        if numbers is not None:
            found[interface] = {
                f"{ours}_{kind}": getattr(numbers, f"{theirs}_{kind}")
                for ours, theirs in (("rx", "tx"), ("tx", "rx"))
                for kind in ("bytes", "packets", "errors", "dropped")
            }
    return found


def leftovers(netlink: Netlink, names: set[str]) -> set[str]:
    """Those of our links that are still there."""
    return {name for name in names if rtnl.link(netlink, name) is not None}


def remove_links(netlink: Netlink, names: set[str]) -> None:
    """Remove links whose other end somebody keeps alive."""
    _forgiving(netlink, [rtnl.delete_link(name) for name in sorted(names)])


def strays(netlink: Netlink, bridges: set[str], known: set[str]) -> set[str]:
    """Ports of our bridges that belong to no container we know."""
    found = rtnl.links(netlink)
    indexes = {link.number for link in found if link.name in bridges}
    ours = {link.name for link in found if link.master in indexes and link.name.startswith("veth")}
    return ours - known


def same_namespace(fd: int) -> bool:
    """Whether a namespace is the engine's own: nothing is ever wired there."""
    own = os.stat("/proc/self/ns/net")
    return (os.fstat(fd).st_dev, os.fstat(fd).st_ino) == (own.st_dev, own.st_ino)
