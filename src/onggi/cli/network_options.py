"""The flags of ``network create`` as docker's IPAM configuration. Pure; ValueError in docker's words."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.command import Options
    from onggi.client.codec import Json


def ipam(options: Options) -> Json:
    """Return ``IPAM``: each range, gateway and auxiliary address with the subnet it lies in."""

    subnets: dict[str, Json] = {}
    if len(options.many("subnet")) < max(len(options.many("ip-range")), len(options.many("gateway"))):
        raise ValueError("every ip-range or gateway must have a corresponding subnet")
    for text in options.many("subnet"):
        if any(_overlap(text, other) for other in subnets):
            raise ValueError("multiple overlapping subnet configuration is not supported")
        subnets[text] = {"Subnet": text, "AuxiliaryAddresses": {}}
    for flag, key, one, many in (
        ("ip-range", "IPRange", "range", "multiple ranges ({}, {}) on the same subnet ({})"),
        ("gateway", "Gateway", "gateway", "multiple gateways ({}, {}) for the same subnet ({})"),
    ):
        for text in options.many(flag):
            subnet = _subnet_of(subnets, text, one)
            if subnet.get(key):
                raise ValueError(f"cannot configure {many.format(text, subnet[key], subnet['Subnet'])}")
            subnet[key] = text
    for name, text in options.many("aux-address"):
        _subnet_of(subnets, text, "aux-address")["AuxiliaryAddresses"][name] = text
    config = [{key: value for key, value in entry.items() if value} for entry in subnets.values()]
    return {
        "Driver": options.text("ipam-driver"),
        "Options": dict(options.many("ipam-opt")),
        "Config": config,
    }


def _overlap(text: str, other_text: str) -> bool:
    from ipaddress import ip_network

    try:
        one, other = (ip_network(each, strict=False) for each in (text, other_text))
    except ValueError:
        return False  # the engine says what is wrong
    return one.version == other.version and bool(one.overlaps(other))


def _subnet_of(subnets: dict[str, Json], text: str, what: str) -> Json:
    from ipaddress import ip_address, ip_network

    try:
        address = ip_address(text.partition("/")[0])
    except ValueError:
        raise ValueError(f"no matching subnet for {what} {text}") from None
    for entry, config in subnets.items():
        subnet = ip_network(entry, strict=False)
        if address.version == subnet.version and address in subnet:
            return config
    raise ValueError(f"no matching subnet for {what} {text}")
