"""What the parts of the network service share: networks, their addresses, who is connected, and the machine.

Everything here belongs to the event loop's thread but ``thread``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from ipaddress import ip_network
from typing import Any, TypeVar

import msgspec

from onggi.errors import InvalidArgument, NotFound
from onggi.networks import parents, rules, wiring
from onggi.networks.firewall import Firewall
from onggi.networks.ipam import POOLS, Addresses, AnyNetwork, Pool
from onggi.networks.kernel_thread import KernelThread
from onggi.networks.model import Endpoint, Network, Sandbox
from onggi.networks.ports import PortTable, Taken
from onggi.networks.rules import Published, Ruleset
from onggi.store.database import Database

T = TypeVar("T")
Publish = Callable[[str, str, Mapping[str, str]], None]  # (action, network id, attributes)
Unwired = Callable[[Network], list[tuple[Sandbox, Endpoint]]]  # who runs on ``host`` or ``none``


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is configured: dockerd's ``bip``, ``mtu``, ``ip``, ``ip-forward``, ``default-address-pools``;
    with ``obey_firewall`` published ports are the machine's own to the packet filter, with ``close_metadata``
    a cloud's metadata service is closed to containers.

    ``table`` and ``bridge`` are names of this engine's own on the machine; ``seed`` is what its IPv6 pool
    follows from.
    """

    table: str = "onggi"
    bridge: str = "onggi0"
    bip: str = ""
    mtu: int = 1500
    binding: str = ""
    icc: bool = True
    ip_forward: bool = True
    obey_firewall: bool = False
    close_metadata: bool = False
    pools: tuple[Pool, ...] = POOLS
    seed: str = "onggi"
    exec_root: str = "/run/onggi"


class Core:
    """The live objects."""

    def __init__(self, database: Database, settings: Settings, publish: Publish) -> None:
        self.database, self.settings, self.publish_event = database, settings, publish
        self.networks: dict[str, Network] = {}
        self.names: dict[str, str] = {}
        self.sandboxes: dict[str, Sandbox] = {}
        self.taken: dict[str, list[Taken]] = {}  # ports by container
        self.unwired: Unwired = lambda network: []
        self.ports = PortTable()
        self.thread = KernelThread()
        self.firewall = Firewall(settings.table, self._restored)
        self.lock = asyncio.Lock()
        self.realized: set[str] = set()
        self.closed = False  # forwarding is on because of us
        self._addresses: dict[tuple[str, str], Addresses] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self._ended = False

    # -- networks ------------------------------------------------------------------------------------------

    def find(self, ref: str) -> Network:
        """The network of an id, a name or a unique prefix; raises NotFound in docker's words."""
        network = self.networks.get(ref) or self.networks.get(self.names.get(ref, ""))
        if network is None and ref:
            found = [entry for entry in self.networks.values() if entry.id.startswith(ref)]
            if len(found) > 1:
                raise InvalidArgument(
                    f"network {ref} is ambiguous ({len(found)} matches found based on ID prefix)"
                )
            network = found[0] if found else None
        if network is None:
            raise NotFound(f"network {ref} not found")
        return network

    def adopt(self, network: Network) -> None:
        self.networks[network.id] = network
        self.names[network.name] = network.id

    def drop(self, network: Network) -> None:
        self.networks.pop(network.id, None)
        self.names.pop(network.name, None)
        self.realized.discard(network.id)
        self.forget_addresses(network)

    def subnets(self) -> list[AnyNetwork]:
        """Those of every network."""
        return [
            ip_network(entry.subnet)
            for network in self.networks.values()
            if not network.config_only
            for entry in network.served
        ]

    def addresses(self, network: Network, six: bool) -> list[Addresses]:
        """Where addresses of one family are taken from."""
        found = []
        for entry in network.served:
            if entry.six == six:
                key = (network.id, entry.subnet)
                if key not in self._addresses:
                    self._addresses[key] = Addresses(entry)
                found.append(self._addresses[key])
        return found

    def forget_addresses(self, network: Network) -> None:
        """The network's subnets have changed."""
        for key in [key for key in self._addresses if key[0] == network.id]:
            del self._addresses[key]

    def members(self, network: Network) -> list[tuple[Sandbox, Endpoint]]:
        """Running containers on a network."""
        if not network.wired:
            return self.unwired(network)
        return [
            (sandbox, sandbox.endpoints[network.id])
            for sandbox in self.sandboxes.values()
            if network.id in sandbox.endpoints
        ]

    # -- the machine ---------------------------------------------------------------------------------------

    async def realize(self, network: Network) -> None:
        """Make what the network needs on the machine, unless this engine did so before."""
        if network.id in self.realized or not network.wired or network.config_only:
            return
        if network.driver != "bridge":
            await self.thread.run(lambda netlink: parents.make(netlink, network))
            self.realized.add(network.id)
            return
        await self.thread.run(lambda netlink: wiring.make_bridge(netlink, network))
        await self._forward(network)
        self.realized.add(network.id)
        try:
            await self.apply()
        except BaseException:
            self.realized.discard(network.id)
            raise

    async def _forward(self, network: Network) -> None:
        if network.internal or not self.settings.ip_forward:
            return
        for six in {entry.six for entry in network.served}:
            if not wiring.forwards(six):
                await self.thread.run(lambda netlink, six=six: wiring.forward(netlink, six))  # type: ignore[misc]
                self.closed = True
                self._remember_closed()

    def _remember_closed(self) -> None:
        """For the next engine; gone with the boot, as the setting is."""
        path = f"{self.settings.exec_root}/forwarding"
        with open(path, "w", encoding="ascii") as file:
            file.write("on because of onggi: nothing but containers' traffic is forwarded\n")

    async def apply(self) -> None:
        """Bring the packet filter in line."""
        await self.firewall.change(self.ruleset())

    def ruleset(self) -> Ruleset:
        """What the packet filter should be now."""
        real = [self.networks[key] for key in self.realized if self.networks[key].driver == "bridge"]
        settings = self.settings
        return Ruleset(
            rules.segments(real),
            frozenset(self._published()),
            self.closed,
            settings.obey_firewall,
            settings.close_metadata,
        )

    def _published(self) -> Iterable[Published]:
        for sandbox in self.sandboxes.values():
            target = self.outlet(sandbox) if sandbox.ports else None
            if target is None:
                continue
            for port in sandbox.ports:
                address = target.ipv6 if ":" in port.host_ip else target.ipv4
                if address:
                    yield Published(
                        port.protocol,
                        "" if port.host_ip in ("0.0.0.0", "::") else port.host_ip,
                        port.host_port,
                        address.partition("/")[0],
                        port.container_port,
                    )

    def outlet(self, sandbox: Sandbox) -> Endpoint | None:
        """The endpoint that published ports lead to: docker's gateway endpoint, on a bridge."""
        able = [
            (self.networks[key], endpoint)
            for key, endpoint in sandbox.endpoints.items()
            if self.networks[key].driver == "bridge" and not self.networks[key].internal
        ]
        best = min(able, key=lambda pair: (-pair[1].gw_priority, pair[0].name), default=None)
        return best[1] if best else None

    # -- events, work behind -------------------------------------------------------------------------------

    def publish(self, action: str, network: Network, **more: str) -> None:
        """A network event with docker's attributes."""
        self.publish_event(action, network.id, {"name": network.name, "type": network.driver, **more})

    def _restored(self) -> None:
        for network in [self.networks[key] for key in self.realized]:
            self.publish("reload", network)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work that nobody waits for; errors are reported by the loop's handler. None once we let go."""
        if self._ended:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        """Let go: links, rules and containers stay."""
        self._ended = True
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.firewall.close()
        for taken in self.taken.values():
            self.ports.give_back(taken)
        await asyncio.to_thread(self.thread.close)
