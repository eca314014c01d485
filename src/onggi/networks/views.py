"""docker's shapes of networks and endpoints. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onggi.networks.model import Endpoint, Network, Port, Sandbox, Subnet, Wish
from onggi.times import rfc3339_or_zero

Json = Any


def network(entry: Network, connected: Iterable[tuple[Sandbox, Endpoint]] = ()) -> Json:
    """docker's ``NetworkInspect``; without ``connected`` what a list shows."""
    return {
        "Name": entry.name,
        "Id": entry.id,
        "Created": rfc3339_or_zero(entry.created_ns),
        "Scope": "local",
        "Driver": entry.shown_driver,
        "EnableIPv4": entry.enable_ipv4,
        "EnableIPv6": entry.enable_ipv6,
        "IPAM": _ipam(entry),
        "Internal": entry.internal,
        "Attachable": entry.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": entry.config_from},
        "ConfigOnly": entry.config_only,
        "Containers": {sandbox.container: _member(sandbox, endpoint) for sandbox, endpoint in connected},
        "Options": entry.options,
        "Labels": entry.labels,
    }


def _ipam(entry: Network) -> Json:
    config = [_subnet(subnet) for subnet in entry.subnets]
    if not config and not entry.wired:
        return {"Driver": entry.ipam_driver, "Options": None, "Config": None}
    return {"Driver": entry.ipam_driver, "Options": entry.ipam_options, "Config": config}


def _subnet(subnet: Subnet) -> Json:
    shown: Json = {"Subnet": subnet.subnet}
    if subnet.ip_range:
        shown["IPRange"] = subnet.ip_range
    if subnet.gateway and not (subnet.asked and subnet.found):  # as docker: what was asked for, or all of it
        shown["Gateway"] = subnet.gateway
    if subnet.auxiliary:
        shown["AuxiliaryAddresses"] = subnet.auxiliary
    return shown


def _member(sandbox: Sandbox, endpoint: Endpoint) -> Json:
    return {
        "Name": sandbox.name,
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "IPv4Address": endpoint.ipv4,
        "IPv6Address": endpoint.ipv6,
    }


def endpoint_settings(wish: Wish, entry: Network | None, endpoint: Endpoint | None, names: list[str]) -> Json:
    """docker's ``EndpointSettings``: what was asked for, and how it stands."""
    ipam = {"IPv4Address": wish.ipv4, "IPv6Address": wish.ipv6, "LinkLocalIPs": wish.link_local}
    ipam = {name: value for name, value in ipam.items() if value}
    four, six = _split(endpoint.ipv4 if endpoint else ""), _split(endpoint.ipv6 if endpoint else "")

    def asked(name: str, value: Json) -> Json:
        return value if value or name in wish.empty else None

    return {
        "IPAMConfig": asked("IPAMConfig", ipam),
        "Links": asked("Links", wish.links),
        "Aliases": asked("Aliases", wish.aliases),
        "MacAddress": endpoint.mac if endpoint else wish.mac,
        "DriverOpts": asked("DriverOpts", wish.driver_opts),
        "GwPriority": wish.gw_priority,
        "NetworkID": entry.id if entry else "",
        "EndpointID": endpoint.id if endpoint else "",
        "Gateway": endpoint.gateway4 if endpoint else "",
        "IPAddress": four[0],
        "IPPrefixLen": four[1],
        "IPv6Gateway": endpoint.gateway6 if endpoint else "",
        "GlobalIPv6Address": six[0],
        "GlobalIPv6PrefixLen": six[1],
        "DNSNames": names or None,
    }


def _split(address: str) -> tuple[str, int]:
    text, _, length = address.partition("/")
    return text, int(length or 0)


def port_map(exposed: Iterable[str], ports: Iterable[Port]) -> Json:
    """``NetworkSettings.Ports``: exposed ports, with where they are published."""
    shown: dict[str, Json] = {name if "/" in name else f"{name}/tcp": None for name in exposed}
    for port in ports:
        name = f"{port.container_port}/{port.protocol}"
        row = {"HostIp": port.host_ip, "HostPort": str(port.host_port)}
        shown[name] = [*(shown.get(name) or []), row]
    return shown
