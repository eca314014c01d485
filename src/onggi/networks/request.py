"""What clients ask for: docker's bodies of ``/networks`` as types, checked in docker's words. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_network

import msgspec

from onggi.booleans import BOOLEANS
from onggi.errors import Forbidden, InvalidArgument, NotFound, Unsupported
from onggi.networks import model
from onggi.networks.ipam import AnyNetwork
from onggi.networks.model import Network, Subnet, Wish

DRIVERS = ("bridge", "macvlan", "ipvlan", "host", "null")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}")
_INTERFACE = re.compile(r"[^\s/]{1,15}")


class _Wire(msgspec.Struct, rename="pascal", kw_only=True):
    """A record with docker's field names."""


class IpamConfig(_Wire):
    subnet: str = ""
    ip_range: str = msgspec.field(default="", name="IPRange")
    gateway: str = ""
    auxiliary: dict[str, str] = msgspec.field(default_factory=dict, name="AuxiliaryAddresses")


class Ipam(_Wire):
    driver: str = ""
    options: dict[str, str] | None = None
    config: list[IpamConfig] = []


class ConfigReference(_Wire):
    network: str = ""


class CreateNetwork(_Wire):
    """Body of ``POST /networks/create``."""

    name: str = ""
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = msgspec.field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = msgspec.field(default=None, name="EnableIPv6")
    ipam: Ipam | None = msgspec.field(default=None, name="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class EndpointIpam(_Wire):
    ipv4: str = msgspec.field(default="", name="IPv4Address")
    ipv6: str = msgspec.field(default="", name="IPv6Address")
    link_local: list[str] = msgspec.field(default_factory=list, name="LinkLocalIPs")


class EndpointSettings(_Wire):
    """Docker's record: what a client may choose, and what only answers tell, read for its types alone."""

    ipam: EndpointIpam | None = msgspec.field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    network_id: str = msgspec.field(default="", name="NetworkID")
    endpoint_id: str = msgspec.field(default="", name="EndpointID")
    gateway: str = ""
    ip_address: str = msgspec.field(default="", name="IPAddress")
    ip_prefix_len: int = msgspec.field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = msgspec.field(default="", name="IPv6Gateway")
    global_ipv6_address: str = msgspec.field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = msgspec.field(default=0, name="GlobalIPv6PrefixLen")
    dns_names: list[str] = msgspec.field(default_factory=list, name="DNSNames")


class Connect(_Wire):
    """Body of ``POST /networks/{id}/connect``."""

    container: str = ""
    endpoint_config: EndpointSettings | None = None


class Disconnect(_Wire):
    """Body of ``POST /networks/{id}/disconnect``."""

    container: str = ""
    force: bool = False


# -- networks ----------------------------------------------------------------------------------------------


def network_of(body: CreateNetwork, network_id: str, created_ns: int) -> Network:
    """The network that is asked for, without automatic subnets. Raises in docker's words."""
    _check_kind(body)
    ipam = body.ipam or Ipam()
    four = body.enable_ipv4 if body.enable_ipv4 is not None else True
    six = bool(body.enable_ipv6)
    _check_ipam(ipam, four, six)
    copied = body.config_only or (body.config_from and body.config_from.network)
    if not (four or six or copied) and body.driver in ("", "bridge"):
        raise InvalidArgument("IPv4 or IPv6 must be enabled")
    network = Network(
        id=network_id,
        name=body.name,
        created_ns=created_ns,
        driver=body.driver or "bridge",
        subnets=[_subnet(entry) for entry in ipam.config],
        enable_ipv4=four,
        enable_ipv6=six,
        internal=body.internal,
        attachable=body.attachable,
        config_only=body.config_only,
        config_from=body.config_from.network if body.config_from else "",
        ipam_driver=ipam.driver or "default",
        ipam_options=ipam.options if body.ipam else None,
        options=body.options,
        labels=body.labels,
    )
    check_options(network)
    return network


def _check_kind(body: CreateNetwork) -> None:
    if not body.name.strip():
        raise InvalidArgument("invalid name: name is empty")
    if body.name in model.PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {body.name} network ")
    driver = body.driver or "bridge"
    if driver == "host" or driver == "null":
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if body.ingress:
        raise Forbidden("Ingress network can only be global scope network")
    if body.scope == "swarm":
        raise Forbidden("cannot create a swarm scoped network when swarm is not active")
    if driver == "overlay":
        raise Forbidden(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
            "this node to swarm and try again."
        )
    if driver not in DRIVERS:
        raise NotFound(f'plugin "{driver}" not found')
    if body.ipam and body.ipam.driver not in ("", "default"):
        raise NotFound(f'plugin "{body.ipam.driver}" not found')
    if body.ipam and body.ipam.options:
        raise Unsupported(
            f"IPAM options {', '.join(sorted(body.ipam.options))} are not supported by this engine"
        )
    if body.config_only and body.config_from and body.config_from.network:
        raise Forbidden("a configuration network cannot depend on another configuration network")


def _subnet(entry: IpamConfig) -> Subnet:
    return Subnet(
        subnet=str(ip_network(entry.subnet)),
        ip_range=str(ip_network(entry.ip_range)) if entry.ip_range else "",
        gateway=entry.gateway,
        auxiliary=entry.auxiliary,
        asked=True,
    )


def _check_ipam(ipam: Ipam, four: bool, six: bool) -> None:
    problems: list[str] = []
    for entry in ipam.config:
        try:
            subnet = _prefix(entry.subnet)
        except ValueError:
            problems.append(_not_a_subnet(entry.subnet))
            continue
        if subnet.version == 6 and not six:
            continue
        problems += [*_ip_range_problems(entry, subnet), *_address_problems(entry, subnet)]
    if problems:
        raise InvalidArgument("invalid network config:\n" + "\n".join(problems))
    for entry in ipam.config:
        version = ip_network(entry.subnet).version
        if version == 4 and not four:
            raise InvalidArgument("IPv4 subnet in IPAM configuration of a network without IPv4")


def _prefix(text: str, strict: bool = True) -> AnyNetwork:
    """Return the network of ``ADDRESS/BITS``, the one notation that docker takes. Raises ValueError."""
    if not text.partition("/")[2].isdecimal():
        raise ValueError(text)
    return ip_network(text, strict)


def _not_a_subnet(text: str) -> str:
    try:
        return f"invalid subnet {text}: it should be {_prefix(text, strict=False)}"
    except ValueError:
        return f"invalid subnet {text}: invalid CIDR block notation"


def _ip_range_problems(entry: IpamConfig, subnet: AnyNetwork) -> Iterator[str]:
    if not entry.ip_range:
        return
    text = entry.ip_range
    try:
        within = _prefix(text, strict=False)
    except ValueError:
        yield f"invalid ip-range {text}: invalid CIDR block notation"
        return
    if within.version != subnet.version:
        yield f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"
        return
    if within.prefixlen < subnet.prefixlen:
        yield f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
    if int(within.network_address) != int(ip_address(text.partition("/")[0])):
        yield f"invalid ip-range {text}: it should be {within}"
    if within.network_address not in subnet:
        yield f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"


def _address_problems(entry: IpamConfig, subnet: AnyNetwork) -> Iterator[str]:
    asked = [("gateway", entry.gateway), *((f"auxiliary address {k}", v) for k, v in entry.auxiliary.items())]
    for what, text in asked:
        if what == "gateway" and not text:
            continue
        name = f"invalid gateway {text}" if what == "gateway" else f"invalid {what}"
        try:
            address = ip_address(text)
        except ValueError:
            yield f"{name}: invalid address"
            continue
        if address.version != subnet.version:
            yield f"{name}: parent subnet is an IPv{subnet.version} block"
        elif address not in subnet:
            yield f"{name}: parent subnet {subnet} doesn't contain this address"


# -- driver options ----------------------------------------------------------------------------------------


def _unreadable(name: str, value: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"failed to parse {name} value: {value} ({why})")


def _boolean(name: str, value: str) -> None:
    if value not in BOOLEANS:
        raise _unreadable(name, value, f'strconv.ParseBool: parsing "{value}": invalid syntax')


def _mtu(name: str, value: str) -> None:
    if not (value.isascii() and value.isdigit() and 68 <= int(value) <= 65535):
        raise InvalidArgument(f'invalid MTU: {name}="{value}"')


def _address(name: str, value: str) -> None:
    try:
        ip_address(value)
    except ValueError:
        raise _unreadable(name, value, "nil ip") from None


def _interface(name: str, value: str) -> None:
    if _INTERFACE.fullmatch(value) is None or value in (".", ".."):
        raise InvalidArgument(f'invalid interface name "{value}" of {name}')


def _gateway_mode(name: str, value: str) -> None:
    if value not in ("", "nat", "nat-unprotected", "routed", "isolated"):
        raise _unreadable(name, value, f"unknown gateway mode {value}")


def _anything(name: str, value: str) -> None:
    """Checked where it is used."""


_BRIDGE_OPTIONS: Mapping[str, Callable[[str, str], None]] = {
    model.NAME: _interface,
    model.ICC: _boolean,
    model.MASQUERADE: _boolean,
    model.BINDING: _address,
    model.BINDING6: _address,
    model.GATEWAY_MODE4: _gateway_mode,
    model.GATEWAY_MODE6: _gateway_mode,
    model.INHIBIT4: _boolean,
    model.IS_DEFAULT: _boolean,
    model.MTU: _mtu,
    model.IFACE_PREFIX: _interface,
}
_CHILD_OPTIONS: Mapping[str, Callable[[str, str], None]] = {
    "parent": lambda name, value: _interface(name, value) if value else None,
    "macvlan_mode": _anything,
    "ipvlan_mode": _anything,
    "ipvlan_flag": _anything,
    model.MTU: _mtu,
}


def check_options(network: Network) -> None:
    """docker drops driver options that it does not know; ours are refused where they are docker's own."""
    known = _BRIDGE_OPTIONS if network.driver == "bridge" else _CHILD_OPTIONS
    for name, value in network.options.items():
        if name in known:
            known[name](name, value)
        elif name.startswith(model.PREFIX):
            raise Unsupported(f"network option {name} is not supported by this engine")


def check_gateway_modes(network: Network) -> None:
    """Refuse modes that do not go with the rest of a network, which may come from a configuration."""
    modes = () if network.internal else (network.gateway_mode(False), network.gateway_mode(True))
    if "isolated" in modes:
        raise InvalidArgument("gateway mode 'isolated' can only be used for an internal network")
    if "routed" in modes:
        raise Unsupported("gateway mode 'routed' is not supported by this engine: use nat-unprotected")


_UNCHOSEN = (
    "user specified IP address is supported only when connecting to networks with user configured subnets"
)

# -- endpoints ---------------------------------------------------------------------------------------------


def wish_of(settings: EndpointSettings | None, user_defined: bool, joined: bool = False) -> Wish:
    """What a container asks of a network, or of the container that it joins. Raises InvalidArgument in
    docker's words.
    """
    settings = settings or EndpointSettings()
    ipam = settings.ipam or EndpointIpam()
    problems = list(_endpoint_problems(settings, ipam, user_defined))
    if problems and not user_defined and not joined and (ipam.ipv4 or ipam.ipv6):
        problems.append(_UNCHOSEN)
    _complain(problems)
    return Wish(
        aliases=settings.aliases or [],
        links=settings.links or [],
        ipv4=ipam.ipv4,
        ipv6=ipam.ipv6,
        link_local=ipam.link_local,
        mac=normal_mac(settings.mac_address) if settings.mac_address else "",
        driver_opts=settings.driver_opts or {},
        gw_priority=settings.gw_priority,
        empty=_empty(settings, ipam),
    )


def _empty(settings: EndpointSettings, ipam: EndpointIpam) -> list[str]:
    """Fields that are there and hold nothing."""
    found = ["IPAMConfig"] if settings.ipam and not (ipam.ipv4 or ipam.ipv6 or ipam.link_local) else []
    given = {"Links": settings.links, "Aliases": settings.aliases, "DriverOpts": settings.driver_opts}
    return found + [name for name, value in given.items() if value is not None and not value]


def _complain(problems: list[str]) -> None:
    if problems:
        mark = "* " if len(problems) > 1 else ""
        raise InvalidArgument("invalid endpoint settings:\n" + "\n".join(mark + text for text in problems))


def _endpoint_problems(settings: EndpointSettings, ipam: EndpointIpam, user_defined: bool) -> Iterator[str]:
    if not user_defined:
        if ipam.ipv4 or ipam.ipv6:
            yield "user specified IP address is supported on user defined networks only"
        if settings.aliases:
            yield "network-scoped alias is supported only for containers in user defined networks"
    for text, version in ((ipam.ipv4, 4), (ipam.ipv6, 6)):
        if text and _version(text) != version:
            yield f"invalid IPv{version} address: {text}"
    for text in ipam.link_local:
        if not _version(text):
            yield f"invalid link-local IP address: {text}"


def _version(text: str) -> int:
    try:
        return ip_address(text).version
    except ValueError:
        return 0


def normal_mac(text: str) -> str:
    """``02:00:00:00:00:01`` of any way to write it. Raises InvalidArgument."""
    if _MAC.fullmatch(text) is None:
        raise InvalidArgument(f"invalid MAC address {text}")
    return text.replace("-", ":").lower()


def check_in_range(network: Network, wish: Wish) -> None:
    """A chosen address lies in a subnet that a person chose."""
    for text, six in ((wish.ipv4, False), (wish.ipv6, True)):
        if not text:
            continue
        asked = [entry for entry in network.subnets if entry.six == six and entry.asked]
        if not asked:
            _complain([_UNCHOSEN])
        if not any(ip_address(text) in ip_network(entry.subnet) for entry in asked):
            _complain([f"no configured subnet or ip-range contain the IP address {text}"])
