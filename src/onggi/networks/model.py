"""Networks and what is connected to them, as data.

``Network`` is a fact of the database. ``Sandbox`` and ``Endpoint`` live as long as a run of a container does
and are kept beside it (see ``sandboxes``). Addresses are text; those of endpoints carry their prefix length.
"""

from __future__ import annotations

import msgspec

from onggi.booleans import BOOLEANS

DEFAULT, HOST, NONE = "bridge", "host", "none"
PREDEFINED = (DEFAULT, HOST, NONE)
PREFIX = "com.docker.network."
BRIDGE = f"{PREFIX}bridge."
NAME, ICC, MASQUERADE = f"{BRIDGE}name", f"{BRIDGE}enable_icc", f"{BRIDGE}enable_ip_masquerade"
BINDING, BINDING6, MTU = f"{BRIDGE}host_binding_ipv4", f"{BRIDGE}host_binding_ipv6", f"{PREFIX}driver.mtu"
IS_DEFAULT = f"{BRIDGE}default_bridge"
GATEWAY_MODE4, GATEWAY_MODE6 = f"{BRIDGE}gateway_mode_ipv4", f"{BRIDGE}gateway_mode_ipv6"
INHIBIT4 = f"{BRIDGE}inhibit_ipv4"
IFACE_PREFIX = f"{PREFIX}container_iface_prefix"
CHILDREN = ("macvlan", "ipvlan")  # drivers whose networks have a device below


class Subnet(msgspec.Struct, frozen=True, kw_only=True):
    """One pool of addresses of a network; ``asked`` says that a person chose it, ``found`` that the gateway
    was not.
    """

    subnet: str
    ip_range: str = ""
    gateway: str = ""
    auxiliary: dict[str, str] = {}
    asked: bool = False
    found: bool = False

    @property
    def six(self) -> bool:
        return ":" in self.subnet

    @property
    def length(self) -> int:
        """The prefix length."""
        return int(self.subnet.partition("/")[2])


class Network(msgspec.Struct, kw_only=True):
    """What was asked for, with the subnets that were chosen."""

    id: str
    name: str
    created_ns: int = 0
    driver: str = "bridge"
    subnets: list[Subnet] = []
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: str = ""
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None
    options: dict[str, str] = {}
    labels: dict[str, str] = {}

    @property
    def served(self) -> list[Subnet]:
        """The subnets that it has; as in docker, one of a family that is switched off is but shown."""
        return [entry for entry in self.subnets if (self.enable_ipv6 if entry.six else self.enable_ipv4)]

    @property
    def user_defined(self) -> bool:
        return self.name not in PREDEFINED

    @property
    def wired(self) -> bool:
        """Whether containers get interfaces and addresses by it: not so with ``host`` and ``none``."""
        return self.driver not in ("host", "null")

    @property
    def shown_driver(self) -> str:
        """docker's word: nothing drives a configuration."""
        return "null" if self.config_only else self.driver

    @property
    def bridge(self) -> str:
        """The name of its bridge."""
        return self.options.get(NAME) or f"br-{self.id[:12]}"

    @property
    def parent(self) -> str:
        """The name of the device below one of macvlan or ipvlan."""
        return self.options.get("parent") or f"{'di' if self.driver == 'ipvlan' else 'dm'}-{self.id[:12]}"

    @property
    def secluded(self) -> bool:
        """Whether no way leads out: by request, or for want of a device below."""
        return self.internal or (self.driver in CHILDREN and not self.options.get("parent"))

    @property
    def mtu(self) -> int:
        """0 leaves it to the kernel."""
        return int(self.options.get(MTU) or 0)

    def on(self, option: str, default: bool = True) -> bool:
        """Whether a yes-or-no option is set."""
        value = self.options.get(option, "")
        return BOOLEANS.get(value, False) if value else default

    def gateway_mode(self, six: bool) -> str:
        """docker's: ``nat``, ``nat-unprotected``, ``routed`` or ``isolated``."""
        return self.options.get(GATEWAY_MODE6 if six else GATEWAY_MODE4) or "nat"

    def bare(self, six: bool) -> bool:
        """Whether its bridge has no address, so that the machine itself is no neighbour."""
        return self.gateway_mode(six) == "isolated" or (not six and self.on(INHIBIT4, default=False))

    def first(self, six: bool) -> Subnet | None:
        """The subnet that gives the container its gateway."""
        return next((entry for entry in self.served if entry.six == six), None)


class Wish(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a container asks of one network: docker's ``EndpointSettings`` as far as it can be asked for.

    ``empty`` names the fields that were given without anything in them: docker shows them so, not as null.
    """

    aliases: list[str] = []
    links: list[str] = []
    ipv4: str = ""
    ipv6: str = ""
    link_local: list[str] = []
    mac: str = ""
    driver_opts: dict[str, str] = {}
    gw_priority: int = 0
    empty: list[str] = []


class Endpoint(msgspec.Struct, kw_only=True):
    """One interface of a running container. ``host_link`` is its other end, empty for macvlan and ipvlan."""

    network: str
    id: str
    interface: str
    mac: str
    ipv4: str = ""
    ipv6: str = ""
    gateway4: str = ""
    gateway6: str = ""
    host_link: str = ""
    names: list[str] = []
    links: dict[str, str] = {}
    gw_priority: int = 0
    link_local: list[str] = []


class Port(msgspec.Struct, frozen=True):
    """One published port: where the machine listens, and where it leads."""

    protocol: str
    host_ip: str
    host_port: int
    container_port: int


class Sandbox(msgspec.Struct, kw_only=True):
    """The network side of one run of a container; ``endpoints`` by network id, in order of connection."""

    container: str
    name: str
    run: int
    id: str
    hostname: str = ""
    endpoints: dict[str, Endpoint] = {}
    ports: list[Port] = []
    resolver: bool = False
    dns: list[str] = []
