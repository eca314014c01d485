"""Who is called what, as one container sees it: those it shares a network with, and the machine."""

from __future__ import annotations

import random

from onggi.networks.core import Core
from onggi.networks.dns.message import AAAA, ANY, PTR, A, Record, reversed_address
from onggi.networks.model import Endpoint, Network, Sandbox

MACHINE = ("host.docker.internal", "gateway.docker.internal")


def look_up(core: Core, sandbox: Sandbox, name: str, kind: int) -> list[Record] | None:
    """The records of a name that is ours, perhaps none of that kind; None for names that are not."""
    if kind == PTR:
        return _reverse(core, sandbox, reversed_address(name))
    found = _addresses(core, sandbox, name)
    if found is None:
        return None
    records = [Record(AAAA if ":" in address else A, address) for address in found]
    wanted = [record for record in records if kind in (record.type, ANY)]
    random.shuffle(wanted)  # several of one name: each takes its turn
    return wanted


def _addresses(core: Core, sandbox: Sandbox, name: str) -> list[str] | None:
    if name in MACHINE:
        return _machine(core, sandbox)
    networks = [(core.networks[key], own) for key, own in sandbox.endpoints.items() if key in core.networks]
    networks = [(network, own) for network, own in networks if network.user_defined]
    for network, own in networks:
        if found := _on(core, network, own, name):
            return found
    head, dot, tail = name.rpartition(".")
    for network, own in networks if dot else ():
        if network.name.lower() == tail and (found := _on(core, network, own, head)):
            return found
    return None


def _on(core: Core, network: Network, own: Endpoint, name: str) -> list[str]:
    """Addresses of a name on one network; links are names that only this container knows."""
    target = {alias.lower(): real.lower() for alias, real in own.links.items()}.get(name, name)
    return [
        address.partition("/")[0]
        for _, endpoint in core.members(network)
        if any(known.lower() == target for known in endpoint.names)
        for address in (endpoint.ipv4, endpoint.ipv6)
        if address
    ]


def _machine(core: Core, sandbox: Sandbox) -> list[str]:
    """The machine as this container reaches it: the gateways of its first network."""
    key = next(iter(sandbox.endpoints))
    return [entry.gateway for entry in core.networks[key].subnets if entry.gateway]


def _reverse(core: Core, sandbox: Sandbox, address: str) -> list[Record] | None:
    for key in sandbox.endpoints if address else ():
        network = core.networks.get(key)
        if network is None or not network.user_defined:
            continue
        for _, endpoint in core.members(network):
            own = (endpoint.ipv4.partition("/")[0], endpoint.ipv6.partition("/")[0])
            if address in own and endpoint.names:
                return [Record(PTR, f"{endpoint.names[0]}.{network.name}")]
    return None


def leads_out(core: Core, sandbox: Sandbox) -> bool:
    """Whether questions may leave: not from a container on internal networks alone (CVE-2024-29018)."""
    networks = [core.networks[key] for key in sandbox.endpoints if key in core.networks]
    return any(not network.internal for network in networks)
