"""Containers on networks: what they ask for at create, what they get at a start, connect and disconnect.

The networks room knows addresses, links and rules; what a container is called, where its files lie and how it
is inspected belongs here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from onggi.containers import files
from onggi.containers.context import Context
from onggi.containers.failures import during
from onggi.containers.files import NameFacts
from onggi.containers.linking import Linking
from onggi.containers.model import Container
from onggi.containers.request import CreateRequest, joined
from onggi.errors import Conflict, Forbidden, InvalidArgument, NotFound, OnggiError
from onggi.networks import views
from onggi.networks.model import Endpoint, Network, Sandbox, Wish
from onggi.networks.ports import wishes
from onggi.networks.request import Connect, Disconnect, EndpointSettings, check_in_range, normal_mac, wish_of
from onggi.networks.sandboxes import Member, Want, dns_names

Json = Any
_SHARED = (
    "container sharing network namespace with another container or host cannot be connected to any other "
    "network"
)
_PRIVATE = (
    "container cannot be connected to multiple networks with one of the networks in private (none) mode"
)
_STAYS = "cannot disconnect container from host network - container was created in host network mode"
_HOST = "cannot connect container to host network - container must be created in host network mode"


class Networking:
    """The network side of the container service."""

    def __init__(self, context: Context) -> None:
        self._context, self.links = context, Linking(context)

    # -- create --------------------------------------------------------------------------------------------

    def wishes_of(self, request: CreateRequest) -> dict[str, Wish]:
        """What a new container asks of which network, by name. Raises in docker's words."""
        mode, asked = request.host.network_mode, request.networking.endpoints_config
        if joined(mode):
            if request.config.mac_address:
                raise InvalidArgument("conflicting options: mac-address and the network mode")
            for wanted in asked.values():
                _wish(mode, wanted, None, joined=True)
            return {}
        found: dict[str, Wish] = {}
        networks = self._context.networks
        for ref in asked or [mode]:
            # A network that is not there is found out at the start, as docker does.
            network = _found(networks.find, "bridge" if ref == "default" else ref)
            name = network.name if network else ref
            settings = asked.get(ref)
            found[name] = _wish(name, settings, network)
            if network is not None:
                _check_kind(network, mode, len(asked))
        request.host.links = self.links.by_id(request.host) or None
        _add_mac(request, found)
        return found

    # -- start ---------------------------------------------------------------------------------------------

    def _wants(self, container: Container) -> list[Want]:
        networks = self._context.networks
        found = [Want(networks.find(name), wish) for name, wish in container.spec.networks.items()]
        return [want for want in found if want.network.wired]

    async def reserve(self, container: Container) -> Sandbox | None:
        """Addresses and ports for the next run; None for a container without networks of its own."""
        with during("failed to set up container networking"):
            return await self._reserve(container)

    async def _reserve(self, container: Container) -> Sandbox | None:
        wants = self._wants(container)
        if not wants:
            return None
        networks, config, host = self._context.networks, container.spec.config, container.spec.host_config
        if any(want.network.name == "bridge" for want in wants):
            await networks.move_default()
            wants = self._wants(container)
        await networks.sandboxes.prepare(wants)
        member = Member(container.id, container.name, config.hostname, container.run + 1)
        ports = wishes(host.port_bindings, config.exposed_ports, host.publish_all_ports)
        return networks.sandboxes.reserve(member, wants, ports, host.dns)

    def wire_of(
        self, container: Container, sandbox: Sandbox | None
    ) -> Callable[[int], Awaitable[None]] | None:
        """What connects the run once it has a namespace."""
        if sandbox is None:
            return None
        context = self._context
        return lambda netns: context.networks.sandboxes.wire(sandbox, netns, context.run_directory(container))

    def name_facts(self, container: Container, sandbox: Sandbox | None) -> NameFacts:
        """For ``/etc/hosts`` and ``/etc/resolv.conf``."""
        config, gateway = container.spec.config, self._gateways()
        if sandbox is None:
            return NameFacts(gateway=gateway)
        full = f"{config.hostname}.{config.domainname}" if config.domainname else config.hostname
        names = " ".join(dict.fromkeys((full, full.partition(".")[0])))
        lines = [
            (address.partition("/")[0], names)
            for endpoint in sandbox.endpoints.values()
            for address in (endpoint.ipv4, endpoint.ipv6)
            if address
        ]
        return NameFacts((*self.links.host_lines(container), *lines), gateway, sandbox.resolver)

    def _gateways(self) -> tuple[str, ...]:
        """The machine, as containers reach it: ``host-gateway``."""
        return tuple(
            entry.gateway for entry in self._context.networks.find("bridge").subnets if entry.gateway
        )

    async def resume(self, container: Container) -> None:
        """Take over the networks of a container that an earlier engine started, its resolver with them."""
        sandboxes = self._context.networks.sandboxes
        sandboxes.adopt(container.id, container.name, self._context.run_directory(container))
        sandbox = sandboxes.get(container.id)
        if sandbox is not None and sandbox.resolver:
            async with self._netns(container) as netns:
                await sandboxes.serve_names(sandbox, netns)

    def release(self, container: Container) -> None:
        """The run is over, or did not come about: what it had is free again, and told."""
        self._context.networks.sandboxes.release(container.id)
        self.tell(container, "disconnect")

    # -- without wires -------------------------------------------------------------------------------------

    def tell(self, container: Container, action: str) -> None:
        """``connect`` or ``disconnect`` of the network of a run that needs no wires: ``host`` or ``none``."""
        for name in container.spec.networks:
            network = _found(self._context.networks.find, name)
            if network and not network.wired:
                self._context.networks.core.publish(action, network, container=container.id)

    def unwired(self, network: Network) -> list[tuple[Sandbox, Endpoint]]:
        """Who runs on such a network. Nothing is kept for the run: its own names make the ids."""
        return [
            (Sandbox(container=entry.id, name=entry.name, run=entry.run, id=_run_id(entry)), endpoint)
            for entry in self._context.containers.values()
            if network.name in entry.spec.networks and (endpoint := _bare_endpoint(entry, network))
        ]

    # -- while it runs -------------------------------------------------------------------------------------

    async def connect(self, ref: str, body: Connect) -> None:
        """``docker network connect``."""
        context = self._context
        container = context.find(body.container)
        network = context.networks.find(ref)
        async with container.lock:
            self._check_connect(container, network)
            wish = wish_of(body.endpoint_config, network.user_defined)
            check_in_range(network, wish)
            _drop_none(container)
            container.spec.networks[network.name] = wish
            try:
                if container.alive and network.wired:
                    await self._connect_live(container, Want(network, wish))
                await self._context.save(container, whole=True)
            except BaseException:
                container.spec.networks.pop(network.name, None)
                raise
        if container.alive and not network.wired:
            context.networks.core.publish("connect", network, container=container.id)

    def _check_connect(self, container: Container, network: Network) -> None:
        mode = container.spec.host_config.network_mode
        if container.removing:
            raise Forbidden(
                f"Container {container.id} is marked for removal and cannot be connected or disconnected "
                "to the network"
            )
        if joined(mode) or mode == "host":
            raise InvalidArgument(_SHARED)
        if network.driver == "host":
            raise InvalidArgument(_HOST)
        names = set(container.spec.networks)
        if (network.name == "none" and names) or ("none" in names and container.alive):
            raise InvalidArgument(_PRIVATE)
        if network.name in names and container.alive:
            raise Forbidden(f"endpoint with name {container.name} already exists in network {network.name}")

    async def _connect_live(self, container: Container, want: Want) -> None:
        sandboxes = self._context.networks.sandboxes
        directory = self._context.run_directory(container)
        sandbox = sandboxes.get(container.id)
        if sandbox is None:
            hostname = container.spec.config.hostname
            sandbox = sandboxes.reserve(Member(container.id, container.name, hostname, container.run), [], [])
        async with self._netns(container) as netns:
            await sandboxes.connect(sandbox, want, netns, directory)
        self.links.tell_parents(container)
        self._write_hosts(container, sandbox)

    async def disconnect(self, ref: str, body: Disconnect) -> None:
        """``docker network disconnect``."""
        context = self._context
        network = context.networks.find(ref)
        try:
            container = context.find(body.container)
        except NotFound:
            if body.force:
                raise NotFound(f"endpoint {body.container} not found") from None
            raise
        async with container.lock:
            if container.spec.host_config.network_mode == "host" and network.driver == "host":
                raise InvalidArgument(_STAYS)
            if network.name not in container.spec.networks:
                raise Conflict(f"container {container.id} is not connected to network {network.name}")
            sandbox = context.networks.sandboxes.get(container.id)
            if container.alive and sandbox is not None and network.id in sandbox.endpoints:
                await self._disconnect_live(container, sandbox, network)
            if container.alive and not network.wired:
                context.networks.core.publish("disconnect", network, container=container.id)
            del container.spec.networks[network.name]
            await self._context.save(container, whole=True)

    async def _disconnect_live(self, container: Container, sandbox: Sandbox, network: Network) -> None:
        async with self._netns(container) as netns:
            directory = self._context.run_directory(container)
            await self._context.networks.sandboxes.disconnect(sandbox, network, netns, directory)
        self._write_hosts(container, sandbox)

    @asynccontextmanager
    async def _netns(self, container: Container) -> AsyncIterator[int]:
        netns = int((await self._context.runtime.call(container.id, "netns", {}))["fd"])
        try:
            yield netns
        finally:
            os.close(netns)

    def _write_hosts(self, container: Container, sandbox: Sandbox) -> None:
        facts = self.name_facts(container, sandbox)
        files.write_names(self._context.directory(container.id), container.spec.host_config, facts)

    # -- inspect -------------------------------------------------------------------------------------------

    def networks(self, container: Container) -> Json:
        """The networks by name; a joined one belongs to its owner."""
        sandbox = self._context.networks.sandboxes.get(container.id)
        return {name: self._endpoint(container, sandbox, name) for name in container.spec.networks}

    def _endpoint(self, container: Container, sandbox: Sandbox | None, name: str) -> Json:
        wish = container.spec.networks[name]
        network = _found(self._context.networks.find, name)
        endpoint = sandbox.endpoints.get(network.id) if sandbox and network else None
        if network and not network.wired:
            endpoint = _bare_endpoint(container, network)
        names: list[str] = []
        if network and network.user_defined:
            member = Member(container.id, container.name, container.spec.config.hostname, container.run)
            names = dns_names(member, wish.aliases)
        return views.endpoint_settings(wish, network, endpoint, names)

    def settings(self, container: Container) -> Json:
        """docker's ``NetworkSettings``."""
        shown, sandbox = self.networks(container), self._sandbox_id(container)
        alone = shown.get("bridge") or {}
        inherited = ("EndpointID", "Gateway", "GlobalIPv6Address", "IPAddress", "IPv6Gateway", "MacAddress")
        return {
            "Bridge": "",
            "SandboxID": sandbox,
            "SandboxKey": f"/proc/{container.state.pid}/ns/net" if sandbox and container.alive else "",
            "Ports": self.ports(container),
            "HairpinMode": False,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": None,
            "SecondaryIPv6Addresses": None,
            **{name: alone.get(name, "") for name in inherited},
            "GlobalIPv6PrefixLen": alone.get("GlobalIPv6PrefixLen", 0),
            "IPPrefixLen": alone.get("IPPrefixLen", 0),
            "Networks": shown,
        }

    def _sandbox_id(self, container: Container) -> str:
        """That of the run; nothing for one that is down or joins another's."""
        if sandbox := self._context.networks.sandboxes.get(container.id):
            return sandbox.id
        shares = joined(container.spec.host_config.network_mode)
        return _run_id(container) if container.alive and not shares else ""

    def ports(self, container: Container) -> Json:
        """``Ports``: nothing for a container that is down or has no network."""
        sandbox = self._context.networks.sandboxes.get(container.id)
        if not container.alive or container.spec.host_config.network_mode in ("host", "none"):
            return {}
        return views.port_map(container.spec.config.exposed_ports, sandbox.ports if sandbox else ())

    async def counters(self, container: Container) -> Json:
        """``networks`` of ``stats``, by interface."""
        sandbox = self._context.networks.sandboxes.get(container.id)
        if sandbox is None:
            return {}
        return {"networks": await self._context.networks.sandboxes.counters(sandbox)}


def _run_id(container: Container, what: str = "") -> str:
    """An id that every engine finds again for this run."""
    return hashlib.sha256(f"{container.id} {container.run}{what}".encode()).hexdigest()


def _bare_endpoint(container: Container, network: Network) -> Endpoint | None:
    """Of a network without wires; None for a container that is down."""
    if not container.alive:
        return None
    return Endpoint(network=network.id, id=_run_id(container, network.name), interface="", mac="")


def _found(find: Callable[[str], Network], ref: str) -> Network | None:
    try:
        return find(ref)
    except OnggiError:
        return None


def _wish(
    name: str, settings: EndpointSettings | None, network: Network | None, joined: bool = False
) -> Wish:
    try:
        wish = wish_of(settings, not joined and (network is None or network.user_defined), joined)
        if network is not None:
            check_in_range(network, wish)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid config for network {name}: {error}") from None
    return wish


def _check_kind(network: Network, mode: str, count: int) -> None:
    if network.driver == "host" and mode != "host":
        raise InvalidArgument(_HOST)
    if count > 1 and network.driver == "null":
        raise InvalidArgument(_PRIVATE)
    if count > 1 and network.driver == "host":
        raise InvalidArgument(_SHARED)


def _add_mac(request: CreateRequest, found: dict[str, Wish]) -> None:
    """The container-wide MAC of older clients belongs to its main network, whose own is theirs to read."""
    mac = request.config.mac_address
    if not mac:
        named = found.get(request.host.network_mode)
        request.config.mac_address = named.mac if named else ""
        return
    mac = normal_mac(mac)
    main = found.get(request.host.network_mode) or next(iter(found.values()), None)
    if main is None:
        return
    if main.mac and main.mac != mac:
        raise InvalidArgument(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main "
            "network, or be left empty"
        )
    main.mac = mac


def _drop_none(container: Container) -> None:
    """A stopped container of ``none`` leaves it for its first network."""
    if container.spec.networks.pop("none", None) is not None:
        container.spec.host_config.network_mode = "bridge"
