"""``--network`` and its old companions (``--ip``, ``--link``, ...) as docker's ``EndpointsConfig``. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.command import Options
    from onggi.client.codec import Json

_BUILT_IN = ("default", "bridge", "host", "none", "nat")
_ZERO: dict[str, Json] = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "MacAddress": "",
    "DriverOpts": None,
    "GwPriority": 0,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}
# Old flag, key of the new notation, and how docker names the two when both are given.
_COMPANIONS = (
    ("network-alias", "alias", "--network-alias and per-network alias"),
    ("ip", "ip", "--ip and per-network IPv4 address"),
    ("ip6", "ip6", "--ip6 and per-network IPv6 address"),
    ("mac-address", "mac-address", "--mac-address and per-network MAC address"),
    ("link-local-ip", "link-local-ip", "--link-local-ip and per-network link-local IP addresses"),
)


def user_defined(network: str) -> bool:
    """Whether a network mode names a network that somebody created."""
    return network not in _BUILT_IN and not network.startswith("container:")


def endpoints(options: Options) -> dict[str, Json]:
    """Return docker's ``EndpointsConfig``. Raises ValueError in docker's words."""
    asked = options.many("network")
    result: dict[str, Json] = {}
    for index, network in enumerate(asked or [{"name": "default"}]):
        merged = _with_companions(network, options) if index == 0 else network
        endpoint = _endpoint(merged)
        name = network["name"]
        if name in result:
            raise ValueError(f'network "{name}" is specified multiple times')
        if (
            len(asked) != 1 or endpoint != _ZERO
        ):  # a single plain network is left to NetworkMode, as docker does
            result[name] = endpoint
    kinds = {user_defined(network["name"]) for network in asked}
    if len(kinds) == 2:
        raise ValueError(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
        )
    return dict(sorted(result.items()))


def _with_companions(network: dict[str, Json], options: Options) -> dict[str, Json]:
    merged = dict(network)
    for flag, key, both in _COMPANIONS:
        if flag not in options.given:
            continue
        if merged.get(key):
            raise ValueError(f"conflicting options: cannot specify both {both}")
        merged[key] = options.many(flag) if key in ("alias", "link-local-ip") else options.text(flag)
    if user_defined(network["name"]) and options.many("link"):
        merged["links"] = options.many("link")
    return merged


def _endpoint(network: dict[str, Json]) -> dict[str, Json]:
    if not network["name"].strip():
        raise ValueError("no name set for network")
    if network.get("alias") and not user_defined(network["name"]):
        raise ValueError("network-scoped aliases are only supported for user-defined networks")
    addresses = (("ip", "IPv4Address"), ("ip6", "IPv6Address"), ("link-local-ip", "LinkLocalIPs"))
    ipam = {field: network[key] for key, field in addresses if network.get(key)}
    return {
        **_ZERO,
        "IPAMConfig": ipam or None,
        "Links": network.get("links"),
        "Aliases": network.get("alias"),
        "MacAddress": network.get("mac-address", ""),
        "DriverOpts": network.get("driver-opt"),
        "GwPriority": network.get("gw-priority", 0),
    }
