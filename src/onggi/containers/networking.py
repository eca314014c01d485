"""Containers on networks: what they ask for at create, what they get at a start, connect and disconnect.

The networks room knows addresses, links and rules; what a container is called, where its files lie and how it
is inspected belongs here.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from onggi.containers import files, links, repository
from onggi.containers.context import Context
from onggi.containers.files import NameFacts
from onggi.containers.model import Container
from onggi.containers.request import ContainerConfig, CreateRequest, HostConfig
from onggi.errors import Conflict, Forbidden, InvalidArgument, KernelError, NotFound, OnggiError
from onggi.networks import views
from onggi.networks.model import Network, Sandbox, Wish
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
        self._context = context

    # -- create --------------------------------------------------------------------------------------------

    def wishes_of(self, request: CreateRequest) -> dict[str, Wish]:
        """What a new container asks of which network, by name. Raises in docker's words."""
        mode, asked = request.host.network_mode, request.networking.endpoints_config
        if mode.startswith("container:"):
            if request.config.mac_address:
                raise InvalidArgument("conflicting options: mac-address and the network mode")
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
        request.host.links = self._linked_by_id(request.host) or None
        _add_mac(request, found)
        return found

    def _linked_by_id(self, host: HostConfig) -> list[str]:
        """Old links with ids for names, which may change; whether they lead anywhere is for the start."""
        return [f"{self._link_target(ref).id}:{alias}" for alias, ref in links.by_alias(host).items()]

    def _link_target(self, ref: str) -> Container:
        """The container whose network ``ref`` has."""
        try:
            other = self._context.find(ref)
        except NotFound as error:  # to docker's command a 404 is an image that is not here
            raise InvalidArgument(f"could not get container for {ref}: {error}") from None
        mode = other.spec.host_config.network_mode
        if mode == "host":
            raise InvalidArgument(f"conflicting options: host type networking {links.WITHOUT}")
        return self._link_target(mode.partition(":")[2]) if mode.startswith("container:") else other

    # -- start ---------------------------------------------------------------------------------------------

    def _wants(self, container: Container) -> list[Want]:
        networks = self._context.networks
        found = [Want(networks.find(name), wish) for name, wish in container.spec.networks.items()]
        return [want for want in found if want.network.driver not in ("host", "null")]

    def children(self, container: Container) -> dict[str, Container]:
        """The containers that old links lead to, by alias."""
        return links.children(container, self._context.containers, self._context.names)

    def check_links(self, container: Container) -> None:
        """Raises Conflict, in docker's words, for an old link to a container that cannot be spoken to."""
        if "bridge" not in container.spec.networks:
            return
        for alias, other in self.children(container).items():
            if "bridge" not in other.spec.networks:
                raise Conflict(
                    f"failed to set up container networking: Cannot link to /{other.name}, as it does not "
                    "belong to the default network"
                )
            if not other.state.running:
                raise Conflict(
                    f"Cannot link to a non running container: /{other.name} AS /{container.name}/{alias}"
                )

    async def reserve(self, container: Container) -> Sandbox | None:
        """Addresses and ports for the next run; None for a container without networks of its own."""
        try:
            return await self._reserve(container)
        except KernelError:
            raise
        except OnggiError as error:
            raise type(error)(f"failed to set up container networking: {error}") from None

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
        return NameFacts((*self._links(container), *lines), gateway, sandbox.resolver)

    def _links(self, container: Container) -> list[tuple[str, str]]:
        """Old links on the default network: names in the hosts file."""
        return [
            (address, " ".join(dict.fromkeys([alias, other.spec.config.hostname, other.name])))
            for other, alias, address in self._linked(container)
        ]

    def _linked(self, container: Container) -> list[tuple[Container, str, str]]:
        """(container, alias, address) of every linked container that runs."""
        return [
            (other, alias, address)
            for alias, other in self.children(container).items()
            if (address := self._default_address(other))
        ]

    def config_of(self, container: Container) -> ContainerConfig:
        """The configuration of the next run: with what old links add to the environment."""
        config = container.spec.config
        added = [
            line
            for other, alias, address in self._linked(container)
            for line in links.variables(container.name, alias, address, other.spec.config)
        ]
        return msgspec.structs.replace(config, env=[*added, *config.env]) if added else config

    async def unlink(self, ref: str) -> None:
        """``docker rm --link container/alias``."""
        name, _, alias = ref.strip("/").rpartition("/")
        if not name:
            raise InvalidArgument("Conflict, cannot remove the default link name of the container")
        container = self._context.find(name)
        async with container.lock:
            host = container.spec.host_config
            kept = [entry for entry in host.links or [] if links.split(entry)[1] != alias]
            if len(kept) == len(host.links or []):
                raise NotFound(f"No such container: {ref}")
            host.links = kept or None
            await self._save(container)

    def _default_address(self, container: Container) -> str:
        sandbox = self._context.networks.sandboxes.get(container.id)
        endpoint = sandbox and sandbox.endpoints.get(self._context.networks.find("bridge").id)
        return endpoint.ipv4.partition("/")[0] if endpoint else ""

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
                if container.alive:
                    await self._connect_live(container, Want(network, wish))
                await self._save(container)
            except BaseException:
                container.spec.networks.pop(network.name, None)
                raise
        if not container.alive:
            context.networks.core.publish("connect", network, container=container.id)

    def _check_connect(self, container: Container, network: Network) -> None:
        mode = container.spec.host_config.network_mode
        if container.removing:
            raise Forbidden(
                f"Container {container.id} is marked for removal and cannot be connected or disconnected "
                "to the network"
            )
        if mode.startswith("container:") or mode == "host":
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
            del container.spec.networks[network.name]
            await self._save(container)

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

    async def _save(self, container: Container) -> None:
        """The whole row again: what was asked for has changed."""
        if container.stored:
            await self._context.database.run(repository.insert(container), durable=True)
        else:
            await self._context.save(container)

    # -- inspect -------------------------------------------------------------------------------------------

    def networks(self, container: Container) -> Json:
        """The networks by name; a joined one belongs to its owner."""
        sandbox = self._context.networks.sandboxes.get(container.id)
        return {name: self._endpoint(container, sandbox, name) for name in container.spec.networks}

    def _endpoint(self, container: Container, sandbox: Sandbox | None, name: str) -> Json:
        wish = container.spec.networks[name]
        network = _found(self._context.networks.find, name)
        endpoint = sandbox.endpoints.get(network.id) if sandbox and network else None
        names: list[str] = []
        if network and network.user_defined:
            member = Member(container.id, container.name, container.spec.config.hostname, container.run)
            names = dns_names(member, wish.aliases)
        return views.endpoint_settings(wish, network, endpoint, names)

    def settings(self, container: Container) -> Json:
        """docker's ``NetworkSettings``."""
        shown = self.networks(container)
        sandbox = self._context.networks.sandboxes.get(container.id)
        alone = shown.get("bridge") or {}
        inherited = ("EndpointID", "Gateway", "GlobalIPv6Address", "IPAddress", "IPv6Gateway", "MacAddress")
        return {
            "Bridge": "",
            "SandboxID": sandbox.id if sandbox else "",
            "SandboxKey": f"/proc/{container.state.pid}/ns/net" if container.alive else "",
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


def _found(find: Callable[[str], Network], ref: str) -> Network | None:
    try:
        return find(ref)
    except OnggiError:
        return None


def _wish(name: str, settings: EndpointSettings | None, network: Network | None) -> Wish:
    try:
        wish = wish_of(settings, network is None or network.user_defined)
        if network is not None:
            check_in_range(network, wish)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid config for network {name}: {error}") from None
    return wish


def _check_kind(network: Network, mode: str, count: int) -> None:
    if network.config_only:
        raise Forbidden(f"configuration network {network.name} cannot be used by containers")
    if network.driver == "host" and mode != "host":
        raise InvalidArgument(_HOST)
    if count > 1 and network.driver == "null":
        raise InvalidArgument(_PRIVATE)
    if count > 1 and network.driver == "host":
        raise InvalidArgument(_SHARED)


def _add_mac(request: CreateRequest, found: dict[str, Wish]) -> None:
    """The container-wide MAC of older clients belongs to its main network."""
    mac = request.config.mac_address
    if not mac:
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
