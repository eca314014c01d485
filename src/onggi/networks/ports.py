"""Published ports: which of the machine's are taken, and the sockets that take them.

A packet to a published port is translated before any socket sees it. The socket is there so that nobody else
takes the port and so that a port of somebody else's is found at the start; a connection that reaches it all
the same (IPv6 to a container without, or a filter that was just flushed) is relayed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

from onggi.errors import Conflict, InvalidArgument, OnggiError, Unsupported
from onggi.networks import model
from onggi.networks.model import Network, Port

Json = Any
_EPHEMERAL = "/proc/sys/net/ipv4/ip_local_port_range"
_PROTOCOLS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, getattr(socket, "IPPROTO_SCTP", 132)),
}
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_BACKLOG = 128


class PortWish(NamedTuple):
    """What is asked for: ``first`` to ``last`` of the machine's ports, 0 for any; every address if empty."""

    protocol: str
    container_port: int
    host_ip: str
    first: int
    last: int


class Taken(NamedTuple):
    """A port and the socket that holds it."""

    port: Port
    socket: socket.socket | None


def parse_range(text: str) -> tuple[int, int]:
    """``80`` or ``80-90``. Raises ValueError."""
    match = _PORT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    first, last = int(match[1]), int(match[2] or match[1])
    if not first <= last <= 65535:
        raise ValueError(text)
    return first, last


def split_port(text: str) -> tuple[int, int, str]:
    """First and last port and the protocol of ``80-90/udp``. Raises InvalidArgument in docker's words."""
    numbers, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in _PROTOCOLS:
        raise InvalidArgument(
            f"invalid proto: {protocol}" if protocol else f"invalid port specification: {text!r}"
        )
    try:
        return *parse_range(numbers), protocol
    except ValueError:
        raise InvalidArgument(f'invalid port specification: "{text}"') from None


def wishes(bindings: dict[str, Json], exposed: Iterable[str], publish_all: bool) -> list[PortWish]:
    """Everything that a container wants published, lowest container port first."""
    found: list[PortWish] = []
    names = {**dict.fromkeys(bindings), **(dict.fromkeys(exposed) if publish_all else {})}
    for name in names:
        first, last, protocol = split_port(name)
        if name in bindings and first != last:
            raise InvalidArgument(f'invalid port specification: "{first}-{last}"')
        wanted = bindings.get(name) or ([{}] if publish_all else [])
        for number in range(first, last + 1):
            found += [_wish(protocol, number, entry) for entry in wanted]
    return sorted(found, key=lambda wish: (wish.container_port, wish.protocol))


def _wish(protocol: str, number: int, binding: Json) -> PortWish:
    if not isinstance(binding, dict):
        raise InvalidArgument("invalid JSON: expected an object in PortBindings")
    text, address = str(binding.get("HostPort") or ""), str(binding.get("HostIp") or "")
    try:
        first, last = parse_range(text) if text else (0, 0)
    except ValueError:
        raise InvalidArgument(f'invalid port specification: "{text}"') from None
    return PortWish(protocol, number, address, first, last)


def places(wish: PortWish, network: Network, binding: str) -> list[str]:
    """Addresses on which a port is to be taken; ``binding`` is the engine's own default for them.

    docker's is every address of both families. Raises InvalidArgument.
    """
    own = network.options.get(model.BINDING, "")
    chosen = wish.host_ip or binding or (own if network.user_defined else "")
    if wish.host_ip or chosen not in ("", "0.0.0.0", "::"):
        _check_address(chosen)
        return [chosen]
    if (chosen == "0.0.0.0" and own) or not os.path.exists("/proc/net/if_inet6"):
        return ["0.0.0.0"]
    return ["0.0.0.0", "::"]


def _check_address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError:
        raise InvalidArgument(f"invalid IP address: {text}") from None


def check_relayed(ports: Sequence[PortWish]) -> None:
    """Raises Unsupported for what an engine that obeys the firewall does not publish."""
    for wish in ports:
        if wish.protocol != "tcp":
            raise Unsupported(
                f"port {wish.container_port}/{wish.protocol} cannot be published by an engine that obeys the "
                "firewall (obey-firewall): it relays only TCP"
            )


class PortTable:
    """The machine's ports that containers have."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, int], dict[str, str]] = {}  # (protocol, port) -> address -> container
        self._next = 0

    def take(self, wish: PortWish, addresses: Sequence[str], owner: str) -> list[Taken]:
        """One port on every one of ``addresses``. Raises Conflict in docker's words."""
        last_error: OnggiError | None = None
        for number in self._candidates(wish):
            try:
                return self._take(wish, number, addresses, owner)
            except OnggiError as error:
                last_error = error
        raise last_error or Conflict("all ports are allocated")

    def adopt(self, port: Port, owner: str) -> Taken:
        """A port of a container that this engine found running; without its socket if that is taken."""
        self._owners.setdefault((port.protocol, port.host_port), {})[port.host_ip] = owner
        with contextlib.suppress(OnggiError):
            return Taken(port, _bind(port.protocol, port.host_ip, port.host_port))
        return Taken(port, None)

    def give_back(self, taken: Iterable[Taken]) -> None:
        """Idempotent."""
        for entry in taken:
            port = entry.port
            if entry.socket is not None:
                entry.socket.close()
            owners = self._owners.get((port.protocol, port.host_port), {})
            owners.pop(port.host_ip, None)
            if not owners:
                self._owners.pop((port.protocol, port.host_port), None)

    def _candidates(self, wish: PortWish) -> Iterator[int]:
        if wish.first:
            yield from range(wish.first, wish.last + 1)
            return
        low, high = _ephemeral()
        count = high - low + 1
        start = self._next if low <= self._next <= high else low
        for offset in range(count):
            number = low + (start - low + offset) % count
            self._next = number + 1
            yield number

    def _take(self, wish: PortWish, number: int, addresses: Sequence[str], owner: str) -> list[Taken]:
        taken: list[Taken] = []
        try:
            for address in addresses:
                self._check_free(wish.protocol, address, number)
                sock = _bind(wish.protocol, address, number)
                port = Port(wish.protocol, address, number, wish.container_port)
                self._owners.setdefault((wish.protocol, number), {})[address] = owner
                taken.append(Taken(port, sock))
        except OnggiError:
            self.give_back(taken)
            raise
        return taken

    def _check_free(self, protocol: str, address: str, number: int) -> None:
        for other, owner in self._owners.get((protocol, number), {}).items():
            same_family = (":" in other) == (":" in address)
            if same_family and (other == address or _everywhere(other) or _everywhere(address)):
                shown = f"[{address}]" if ":" in address else address
                raise Conflict(
                    f"Bind for {shown}:{number} failed: port is already allocated (by container {owner})"
                )


def _everywhere(address: str) -> bool:
    return address in ("0.0.0.0", "::")


def _ephemeral() -> tuple[int, int]:
    with open(_EPHEMERAL, encoding="ascii") as file:
        low, high = file.read().split()
    return int(low), int(high)


def _bind(protocol: str, address: str, number: int) -> socket.socket | None:
    """A socket that holds the port; None where the machine does not speak the protocol itself."""
    kind, proto = _PROTOCOLS[protocol]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, proto)
    except OSError:
        return None
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            # Connections that are over do not count.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, number))
        if kind == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise Conflict(_refused(protocol, address, number, error)) from None
    return sock


def _refused(protocol: str, address: str, number: int, error: OSError) -> str:
    shown = f"[{address}]" if ":" in address else address
    if error.errno == errno.EADDRNOTAVAIL:
        reason = "cannot assign requested address"
    elif error.errno == errno.EADDRINUSE:
        reason = "address already in use"
    else:
        reason = (error.strerror or str(error)).lower()
    return f"failed to bind host port {shown}:{number}/{protocol}: {reason}"
