"""Which addresses are whose: pools that subnets are cut from, and subnets that addresses come from. Pure.

An address that was given back is taken again last: neighbours and resolvers remember it for a while, and the
namespace that held it is taken apart behind its container's end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from onggi.errors import Forbidden, InvalidArgument, OnggiError, Unavailable
from onggi.networks.model import Subnet

AnyNetwork = IPv4Network | IPv6Network


class Pool(NamedTuple):
    """Automatic subnets: those of ``size`` bits below ``base``."""

    base: str
    size: int


# dockerd's own, in its order.
POOLS = (
    *(Pool(f"172.{number}.0.0/16", 16) for number in (17, 18, 19)),
    Pool("172.20.0.0/14", 16),
    Pool("172.24.0.0/14", 16),
    Pool("172.28.0.0/14", 16),
    Pool("192.168.0.0/16", 20),
)


def unique_local_pool(seed: str) -> Pool:
    """The /48 of RFC 4193 that this engine cuts IPv6 subnets from."""
    number = hashlib.sha256(seed.encode()).hexdigest()[:10]
    return Pool(f"fd{number[:2]}:{number[2:6]}:{number[6:]}::/48", 64)


def overlaps(subnet: AnyNetwork, others: Iterable[AnyNetwork]) -> bool:
    return any(subnet.version == other.version and subnet.overlaps(other) for other in others)


def choose(pools: Sequence[Pool], six: bool, taken: Sequence[AnyNetwork], avoid: Sequence[AnyNetwork]) -> str:
    """The first free automatic subnet; ``taken`` are those of networks, ``avoid`` the machine's routes."""
    used = [*taken, *avoid]
    for pool in pools:
        base = ip_network(pool.base)
        if (base.version == 6) == six:
            for subnet in _subnets(base, pool.size, used):
                return str(subnet)
    raise InvalidArgument("all predefined address pools have been fully subnetted")


def _subnets(base: AnyNetwork, size: int, used: Sequence[AnyNetwork]) -> Iterator[AnyNetwork]:
    """Free subnets; what is used is stepped over, so that a large pool costs no more than what is in it."""
    step = 1 << (base.max_prefixlen - size)
    place, end = int(base.network_address), int(base.broadcast_address)
    kind = type(base)
    while place + step - 1 <= end:
        subnet = kind((place, size))
        blocker = next((other for other in used if overlaps(subnet, [other])), None)
        if blocker is None:
            yield subnet
            place += step
        else:
            behind = int(blocker.broadcast_address) + 1
            place = max(place + step, behind + (-(behind - int(base.network_address)) % step))


def check_free(subnet: str, taken: Sequence[AnyNetwork]) -> None:
    """Refuse a subnet that overlaps another network's, in docker's words."""
    if overlaps(ip_network(subnet), taken):
        raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")


def first_host(subnet: str) -> str:
    """The address that a network's gateway gets unless told otherwise."""
    network = ip_network(subnet)
    lone = network.prefixlen >= network.max_prefixlen - 1
    return str(network.network_address if lone else network.network_address + 1)


class Addresses:
    """The addresses of one subnet."""

    def __init__(self, subnet: Subnet) -> None:
        self.subnet = subnet
        self._network = ip_network(subnet.subnet)
        within = ip_network(subnet.ip_range) if subnet.ip_range else self._network
        self._first, self._last = int(within.network_address), int(within.broadcast_address)
        if self._network.version == 4 and self._network.prefixlen < 31:
            # Neither the network's own address nor the broadcast address is anybody's.
            self._first = max(self._first, int(self._network.network_address) + 1)
            self._last = min(self._last, int(self._network.broadcast_address) - 1)
        elif self._network.version == 6 and self._network.prefixlen < 127:
            self._first = max(self._first, int(self._network.network_address) + 1)  # the routers' anycast
        self._next = self._first
        self._taken = {int(ip_address(entry)) for entry in subnet.auxiliary.values()}
        if subnet.gateway:
            self._taken.add(int(ip_address(subnet.gateway)))

    def take(self, wanted: str = "") -> str:
        """A free address with its prefix length. Raises Forbidden, InvalidArgument or Unavailable."""
        number = self._wanted(wanted) if wanted else self._free()
        self._taken.add(number)
        address = type(self._network.network_address)(number)
        return f"{address}/{self._network.prefixlen}"

    def contains(self, address: str) -> bool:
        """Whether an address, with or without prefix length, lies in the subnet."""
        found = ip_address(address.partition("/")[0])
        return found.version == self._network.version and found in self._network

    def adopt(self, address: str) -> None:
        """An address of a container that is found running."""
        self._taken.add(int(ip_address(address.partition("/")[0])))

    def give_back(self, address: str) -> None:
        """Idempotent."""
        self._taken.discard(int(ip_address(address.partition("/")[0])))

    def _wanted(self, wanted: str) -> int:
        if not self.contains(wanted):
            raise InvalidArgument("requested address is out of range")
        number = int(ip_address(wanted.partition("/")[0]))
        if number in self._taken:
            raise Forbidden("Address already in use")
        return number

    def _free(self) -> int:
        for start, end in ((self._next, self._last), (self._first, self._next - 1)):
            number = start
            while number <= end:
                if number not in self._taken:
                    self._next = number + 1 if number < self._last else self._first
                    return number
                number += 1
        raise Unavailable("no available addresses on this pool")


def take(pools: Sequence[Addresses], wanted: str) -> tuple[str, Subnet]:
    """An address, ``wanted`` or any, of the first subnet that has one; raises as ``Addresses.take``."""
    failure: OnggiError | None = None
    for pool in pools:
        if wanted and not pool.contains(wanted):
            continue
        try:
            return pool.take(wanted), pool.subnet
        except Unavailable as error:
            failure = error
    raise failure or InvalidArgument("requested address is out of range")
