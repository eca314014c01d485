"""The network service: docker's verbs for networks, and recovery."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from onggi.errors import Conflict, Forbidden, NotFound, OnggiError
from onggi.filters import Filters, check_names
from onggi.kernel.failpoints import failpoint
from onggi.networks import filters as network_filters
from onggi.networks import ipam, model, parents, repository, views, wiring
from onggi.networks.core import Core, Publish, Settings
from onggi.networks.model import Network, Subnet
from onggi.networks.request import CreateNetwork, check_gateway_modes, network_of
from onggi.networks.sandboxes import Sandboxes
from onggi.store.database import Database

Json = Any


class Networks:
    """Each engine has one; ``sandboxes`` is the side that containers use."""

    def __init__(self, database: Database, settings: Settings, publish: Publish) -> None:
        self.core = Core(database, settings, publish)
        self.sandboxes = Sandboxes(self.core)
        self.find = self.core.find
        self.failures: dict[str, str] = {}  # networks that could not be made at the start, and why

    # -- docker's verbs ------------------------------------------------------------------------------------

    async def create(self, body: CreateNetwork) -> Json:
        """Make a network; its id and docker's warning."""
        core = self.core
        async with core.lock:
            network = network_of(body, secrets.token_hex(32), time.time_ns())
            if network.name in core.names:
                raise Conflict(f"network with name {network.name} already exists")
            self._inherit(network, body)
            self._check_device(network)
            if not network.config_only:
                await self._choose_subnets(network)
                _check_count(network)
            core.adopt(network)
            try:
                await core.realize(network)
                failpoint("networks.create.before_row")
                await core.database.run(repository.save(network), durable=True)
            except BaseException:
                core.drop(network)
                await self._remove_device(network)
                raise
        core.publish("create", network)
        return {"Id": network.id, "Warning": self._warning(network)}

    def _warning(self, network: Network) -> str:
        """What stands in the way of the network's packets."""
        if network.internal or network.driver != "bridge" or network.config_only:
            return ""
        if chains := ", ".join(self.core.firewall.obstacles):
            return (
                f"packets of {network.name} may be dropped by the packet filter of another program: {chains}"
            )
        if not wiring.forwards(False) and network.first(False):
            return "IPv4 forwarding is disabled. Networking will not work."
        return ""

    async def list_(self, filters: Filters, *, members: bool = False) -> Sequence[Json]:
        """docker's list, oldest first."""
        core, wanted = self.core, network_filters.predicate(self.core, filters)
        found = [entry for entry in core.networks.values() if wanted(entry)]
        return [views.network(entry, core.members(entry) if members else ()) for entry in found]

    async def inspect(self, ref: str, scope: str = "") -> Json:
        """docker's ``NetworkInspect``."""
        network = self.core.find(ref)
        if scope not in ("", "local"):
            raise NotFound(f"network {ref} not found")
        return views.network(network, self.core.members(network))

    async def remove(self, ref: str) -> None:
        """Remove a network that nobody is connected to."""
        async with self.core.lock:
            network = self.core.find(ref)
            if not network.user_defined:
                raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
            self._check_unused(network)
            await self._remove(network)

    async def prune(self, filters: Filters, until_ns: int = 0) -> Json:
        """Remove every network that is not in use and older than ``until_ns``."""
        check_names(filters, network_filters.PRUNE)
        wanted = network_filters.predicate(self.core, filters)
        removed = []
        async with self.core.lock:
            for network in list(self.core.networks.values()):
                if until_ns and network.created_ns >= until_ns:
                    continue
                if network.config_only or not network.user_defined or self._used(network):
                    continue
                if wanted(network):
                    await self._remove(network)
                    removed.append(network.name)
        self.core.publish_event("prune", "", {"reclaimed": "0"})
        return {"NetworksDeleted": removed or None}

    # -- parts of create and remove ------------------------------------------------------------------------

    def _inherit(self, network: Network, body: CreateNetwork) -> None:
        """What a network made from a configuration takes from it."""
        if not network.config_from:
            return
        source = self.core.find(network.config_from)
        if not source.config_only:
            raise Forbidden(f"{source.name} is not a configuration network")
        if (body.ipam and body.ipam.config) or body.options or body.labels:
            raise Forbidden(
                "user specified configurations are not supported if the network depends on a configuration "
                "network"
            )
        network.subnets, network.options, network.labels = source.subnets, source.options, source.labels
        network.enable_ipv4, network.enable_ipv6 = source.enable_ipv4, source.enable_ipv6
        network.ipam_driver, network.ipam_options = source.ipam_driver, source.ipam_options

    def _check_device(self, network: Network) -> None:
        if network.config_only:
            return
        check_gateway_modes(network)
        for other in self._real():
            if network.driver == other.driver == "bridge" and network.bridge == other.bridge:
                raise Forbidden(
                    f"cannot create network {network.id} ({network.bridge}): conflicts with network "
                    f"{other.id} ({other.bridge}): networks have same bridge name"
                )
        if network.driver in model.CHILDREN:
            parents.check(network, self._real())

    def _real(self) -> list[Network]:
        return [entry for entry in self.core.networks.values() if not entry.config_only]

    async def _choose_subnets(self, network: Network) -> None:
        core = self.core
        taken = core.subnets()
        for entry in network.served:
            ipam.check_free(entry.subnet, taken)
            taken.append(ip_network(entry.subnet))
        for six, enabled in ((False, network.enable_ipv4), (True, network.enable_ipv6)):
            if enabled and network.first(six) is None:
                avoid = await core.thread.run(wiring.routed)
                pools = [ipam.unique_local_pool(core.settings.seed)] if six else core.settings.pools
                network.subnets.append(Subnet(subnet=ipam.choose(pools, six, taken, avoid)))
        network.subnets = [_with_gateway(network, entry) for entry in network.subnets]

    def _used(self, network: Network) -> bool:
        return bool(self.core.members(network)) or any(
            other.config_from == network.name for other in self.core.networks.values()
        )

    def _check_unused(self, network: Network) -> None:
        members = [
            f'name:"{sandbox.name}" id:"{endpoint.id[:12]}"'
            for sandbox, endpoint in self.core.members(network)
        ]
        if members:
            raise Forbidden(
                f"error while removing network: network {network.name} has active endpoints "
                f"({', '.join(members)})"
            )
        for other in self.core.networks.values():
            if other.config_from == network.name:
                raise Forbidden(
                    f'error while removing network: configuration network "{network.name}" is in use'
                )

    async def _remove(self, network: Network) -> None:
        """Row first; the lock is held."""
        await self.core.database.run(repository.delete(network.id), durable=True)
        failpoint("networks.remove.after_row")
        self.core.drop(network)
        await self._remove_device(network)
        self.core.publish("destroy", network)

    async def _remove_device(self, network: Network) -> None:
        core, others = self.core, self._real()
        if network.config_only:
            return
        if network.driver == "bridge":
            named = model.NAME in network.options
            await core.thread.run(lambda netlink: wiring.remove_device(netlink, network.bridge, named=named))
            await core.apply()
        else:
            await core.thread.run(lambda netlink: parents.unmake(netlink, network, others))

    # -- start and end -------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the networks, and make the three that every engine has."""
        core = self.core
        for network in await core.database.run(repository.load_all):
            core.adopt(network)
        fresh = [entry for entry in self.predefined() if entry.name not in core.names]
        for network in fresh:
            if network.name == model.DEFAULT:
                await self._choose_default(network)
            core.adopt(network)
            await core.database.run(repository.save(network), durable=True)
        core.closed = os.path.exists(f"{core.settings.exec_root}/forwarding")

    def predefined(self) -> Sequence[Network]:
        """The three networks of a new engine; the default one without a subnet yet."""
        settings = self.core.settings
        options = {
            model.IS_DEFAULT: "true",
            model.ICC: str(settings.icc).lower(),
            model.MASQUERADE: "true",
            model.BINDING: settings.binding or "0.0.0.0",
            model.NAME: settings.bridge,
            model.MTU: str(settings.mtu),
        }
        now = time.time_ns()
        return [
            Network(id=secrets.token_hex(32), name="bridge", created_ns=now, options=options),
            Network(id=secrets.token_hex(32), name="host", created_ns=now, driver="host"),
            Network(id=secrets.token_hex(32), name="none", created_ns=now, driver="null"),
        ]

    async def _choose_default(self, network: Network) -> None:
        if self.core.settings.bip:
            gateway, _, length = self.core.settings.bip.partition("/")
            subnet = str(ip_network(f"{gateway}/{length}", strict=False))
            network.subnets = [Subnet(subnet=subnet, gateway=gateway, asked=True)]
            return
        await self._choose_subnets(network)

    async def recover(self) -> None:
        """After the containers are found: the machine as the networks want it, nothing of anybody gone.

        The default network is made when it is needed first; the others are there before that.
        """
        core = self.core
        await core.firewall.forget()
        for network in list(core.networks.values()):
            if network.user_defined or core.members(network):
                try:
                    await core.realize(network)
                except OnggiError as error:
                    self.failures[network.name] = str(error)
        if core.realized or core.sandboxes:
            await core.apply()
            await self.sandboxes.sweep()

    async def move_default(self) -> None:
        """Another subnet for the default network, if the machine routes its own elsewhere by now."""
        if self.core.find(model.DEFAULT).id not in self.core.realized:
            async with self.core.lock:
                await self._move_default(self.core.find(model.DEFAULT))

    async def _move_default(self, network: Network) -> None:
        """The lock is held."""
        core = self.core
        if network.id in core.realized or core.members(network) or core.settings.bip:
            return
        beside = frozenset([network.bridge])
        routes = await core.thread.run(lambda netlink: wiring.routed(netlink, beside))
        if any(ipam.overlaps(ip_network(entry.subnet), routes) for entry in network.served):
            changed = msgspec.structs.replace(network, subnets=[])
            await self._choose_subnets(changed)
            core.drop(network)  # and back at once: nobody may look for it in between
            core.adopt(changed)
            await core.database.run(repository.save(changed), durable=True)

    async def close(self) -> None:
        """Let go: what is on the machine stays."""
        self.sandboxes.close()
        await self.core.close()


def _with_gateway(network: Network, entry: Subnet) -> Subnet:
    if entry.gateway or (network.driver == "ipvlan" and network.options.get("ipvlan_mode", "l2") != "l2"):
        return entry
    if network.internal and network.bare(entry.six):
        return entry  # nobody has it, and nothing leads to it
    taken = set(entry.auxiliary.values())
    base = ip_network(entry.ip_range or entry.subnet)
    first = ipam.first_host(str(base) if entry.ip_range else entry.subnet)
    gateway = next(
        (str(host) for host in base if str(host) not in taken and int(host) >= int(ip_address(first))), ""
    )
    return msgspec.structs.replace(entry, gateway=gateway, found=True)


def _check_count(network: Network) -> None:
    """Raise Forbidden, as docker, for a bridge with several subnets of one family."""
    families = [subnet.six for subnet in network.served]
    if network.driver == "bridge" and len(families) > len(set(families)):
        raise Forbidden("bridge driver doesn't support multiple subnets")
