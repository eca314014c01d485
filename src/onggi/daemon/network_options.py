"""The daemon's network options, checked: dockerd's keys and words."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from onggi.errors import InvalidArgument

Json = Any


def pools(values: Json) -> tuple[tuple[str, int], ...]:
    """``default-address-pools``: objects of daemon.json or ``base=CIDR,size=BITS`` of a flag."""
    if not isinstance(values, list):
        raise InvalidArgument("invalid default address pool: expected a list")
    return tuple(_pool(entry) for entry in values)


def _pool(entry: Json) -> tuple[str, int]:
    if isinstance(entry, str):
        entry = dict(part.partition("=")[::2] for part in entry.split(","))
    if not isinstance(entry, dict) or set(entry) != {"base", "size"}:
        raise InvalidArgument("invalid default address pool: expected base and size")
    try:
        base, size = ip_network(str(entry["base"])), int(entry["size"])
    except ValueError as error:
        raise InvalidArgument(f"invalid default address pool: {error}") from None
    if not base.prefixlen <= size <= base.max_prefixlen:
        raise InvalidArgument(
            f"invalid default address pool: network {base} has a smaller prefix (/{base.prefixlen}) than the "
            f"target size of that pool (/{size})"
            if size < base.prefixlen
            else f"invalid default address pool: {size} is no prefix length of {base}"
        )
    return str(base), size


def validate(bridge: str, bip: str, mtu: int, ip: str) -> None:
    """Raises InvalidArgument with a sentence."""
    if len(bridge) > 15 or "/" in bridge or any(char.isspace() for char in bridge):
        raise InvalidArgument(f"invalid bridge name: {bridge}")
    if mtu and not 68 <= mtu <= 65535:
        raise InvalidArgument(f"invalid default MTU value: {mtu}")
    try:
        if bip:
            ip_interface(bip)
        if ip:
            ip_address(ip)
    except ValueError as error:
        raise InvalidArgument(f"invalid network address: {error}") from None
    if bip and "/" not in bip:
        raise InvalidArgument(f"invalid bip {bip}: it needs the subnet's length, as in 172.17.0.1/16")
