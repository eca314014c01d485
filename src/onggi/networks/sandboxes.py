"""The network side of containers: addresses and ports before a start, interfaces during it, and back.

Order of a start: ``prepare`` (bridges are there), ``reserve`` (addresses and ports are ours: what can be
refused is refused before there is a process), ``wire`` (between ``prepared`` and ``go``). ``release`` undoes
all of it; the interfaces go with the container's namespace.

Beside the run, gone with it::

    <exec-root>/containers/<id>/<n>/network.json     the Sandbox
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from onggi.errors import Forbidden, InvalidArgument, OnggiError, Unavailable
from onggi.kernel.files import write_atomic
from onggi.kernel.netlink import Netlink
from onggi.networks import ipam, model, plans, wiring
from onggi.networks.core import Core
from onggi.networks.dns.server import Resolvers, Sockets
from onggi.networks.kernel_thread import inside
from onggi.networks.model import Endpoint, Network, Sandbox, Wish
from onggi.networks.ports import PortWish, check_relayed, places
from onggi.networks.relay import Relays
from onggi.networks.wiring import Wire

FILE = "network.json"
_LEFTOVER_S = 1.0
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Sandbox).decode


class Member(NamedTuple):
    """Who is to be connected."""

    id: str
    name: str
    hostname: str
    run: int


class Want(NamedTuple):
    """To which network, and what is asked of it."""

    network: Network
    wish: Wish


class Sandboxes:
    """Connects containers; everything here belongs to the event loop."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._relays = Relays()
        self._resolvers = Resolvers(core)
        self._wishes: dict[tuple[str, str], Wish] = {}
        self._leaving: set[str] = set()

    def get(self, container_id: str) -> Sandbox | None:
        """The sandbox of a container that runs."""
        return self._core.sandboxes.get(container_id)

    # -- start ---------------------------------------------------------------------------------------------

    async def prepare(self, wants: Sequence[Want]) -> None:
        """The networks are there on the machine."""
        core = self._core
        for want in wants:
            if want.network.id not in core.realized:
                async with core.lock:
                    await core.realize(core.find(want.network.id))

    def reserve(
        self, member: Member, wants: Sequence[Want], ports: Sequence[PortWish], dns: Sequence[str] = ()
    ) -> Sandbox:
        """Addresses and ports for one run; ``dns`` are resolvers of its own. On failure nothing is taken."""
        core = self._core
        self.release(member.id)
        sandbox = Sandbox(
            container=member.id,
            name=member.name,
            hostname=member.hostname,
            run=member.run,
            id=secrets.token_hex(32),
            dns=list(dns),
        )
        core.sandboxes[member.id] = sandbox
        try:
            for want in wants:
                self._join(sandbox, want)
            if ports:
                self._publish(sandbox, ports)
        except BaseException:
            self.release(member.id)
            raise
        return sandbox

    def _join(self, sandbox: Sandbox, want: Want) -> Endpoint:
        network, wish = want
        if network.config_only:
            raise Forbidden("cannot create endpoint on configuration-only network")
        endpoint = Endpoint(
            network=network.id,
            id=secrets.token_hex(32),
            interface=self._interface(sandbox, network),
            mac=wish.mac or _random_mac(),
            host_link=f"veth{secrets.token_hex(4)[:7]}" if network.driver == "bridge" else "",
            names=_names(sandbox, wish) if network.user_defined else [],
            links=dict(_link(entry) for entry in wish.links),
            gw_priority=wish.gw_priority,
            link_local=wish.link_local,
        )
        if network.driver == "ipvlan":
            endpoint.mac = ""
        self._address(endpoint, network, wish)
        sandbox.endpoints[network.id] = endpoint
        sandbox.resolver = sandbox.resolver or network.user_defined
        self._wishes[sandbox.container, network.id] = wish
        return endpoint

    def _interface(self, sandbox: Sandbox, network: Network) -> str:
        prefix = network.options.get(model.IFACE_PREFIX) or "eth"
        taken = {entry.interface for entry in sandbox.endpoints.values()}
        return next(name for number in range(1000) if (name := f"{prefix}{number}") not in taken)

    def _address(self, endpoint: Endpoint, network: Network, wish: Wish) -> None:
        for six, wanted in ((False, wish.ipv4), (True, wish.ipv6)):
            pools = self._core.addresses(network, six)
            if not pools:
                # As docker: of a version that is off, with a subnet for it, an address is passed over.
                if wanted and not any(entry.six == six for entry in network.subnets):
                    raise InvalidArgument(f"network {network.name} has no IPv{6 if six else 4} subnet")
                continue
            address, subnet = ipam.take(pools, wanted)
            gateway = "" if network.secluded else subnet.gateway
            if network.driver == "ipvlan" and network.options.get("ipvlan_mode", "l2") != "l2":
                gateway = "" if network.secluded else ("::" if six else "0.0.0.0")
            if six:
                endpoint.ipv6, endpoint.gateway6 = address, gateway
            else:
                endpoint.ipv4, endpoint.gateway4 = address, gateway

    def _publish(self, sandbox: Sandbox, ports: Sequence[PortWish]) -> None:
        core = self._core
        target = core.outlet(sandbox)
        if target is None:
            return  # as docker: what is on internal networks alone publishes nothing
        network = core.networks[target.network]
        if core.settings.obey_firewall:
            check_relayed(ports)
        taken = core.taken.setdefault(sandbox.container, [])
        try:
            for wish in ports:
                taken += core.ports.take(wish, places(wish, network, core.settings.binding), sandbox.name)
        except OnggiError as error:
            raise type(error)(
                f"driver failed programming external connectivity on endpoint {sandbox.name} ({target.id}): "
                f"{error}"
            ) from None
        sandbox.ports = [entry.port for entry in taken]

    async def wire(self, sandbox: Sandbox, netns: int, run_dir: str) -> None:
        """Make the interfaces in the namespace, and the rules of published ports; ``netns`` stays open."""
        core = self._core
        if wiring.same_namespace(netns):
            raise Unavailable("the container has no network namespace of its own")
        write_atomic(f"{run_dir}/{FILE}", _encode(sandbox), durable=False)
        wires = [self._wire(sandbox, endpoint) for endpoint in sandbox.endpoints.values()]
        routes = self._routes(sandbox)
        work: list[asyncio.Future[None] | asyncio.Task[None]] = [
            asyncio.ensure_future(
                core.thread.run(lambda netlink: wiring.connect(netlink, netns, wires, routes))
            )
        ]
        if sandbox.ports:
            work.append(asyncio.ensure_future(core.apply()))
        if sandbox.resolver:
            work.append(asyncio.ensure_future(self.serve_names(sandbox, netns)))
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        if core.sandboxes.get(sandbox.container) is sandbox:
            self._relays.follow(core.taken.get(sandbox.container, ()), self._target(sandbox))
        for key, endpoint in sandbox.endpoints.items():
            self._tell("connect", sandbox, core.networks[key], endpoint)

    async def serve_names(self, sandbox: Sandbox, netns: int) -> None:
        """Answer the container's questions at 127.0.0.11 from now on."""
        core = self._core
        sockets = Sockets(*await core.thread.run(lambda _: wiring.open_resolver(netns)))
        if core.sandboxes.get(sandbox.container) is sandbox:
            self._resolvers.serve(sandbox, sockets)
        else:
            for sock in sockets:  # it ended meanwhile
                sock.close()

    def _wire(self, sandbox: Sandbox, endpoint: Endpoint) -> Wire:
        wish = self._wishes.get((sandbox.container, endpoint.network), Wish())
        return Wire(self._core.networks[endpoint.network], endpoint, wish.driver_opts)

    def _routes(self, sandbox: Sandbox) -> list[tuple[Endpoint, bool]]:
        named = [(self._core.networks[key].name, entry) for key, entry in sandbox.endpoints.items()]
        chosen = [(plans.gateway_of(named, six), six) for six in (False, True)]
        return [(endpoint, six) for endpoint, six in chosen if endpoint is not None]

    def _target(self, sandbox: Sandbox) -> str:
        """Where relayed connections go."""
        outlet = self._core.outlet(sandbox)
        return (outlet.ipv4 or outlet.ipv6).partition("/")[0] if outlet else ""

    def _tell(self, action: str, sandbox: Sandbox, network: Network, endpoint: Endpoint) -> None:
        self._core.publish(action, network, container=sandbox.container)

    # -- while it runs -------------------------------------------------------------------------------------

    async def connect(self, sandbox: Sandbox, want: Want, netns: int, run_dir: str) -> Endpoint:
        """Connect a running container to one more network."""
        core = self._core
        await self.prepare([want])
        resolved = sandbox.resolver
        endpoint = self._join(sandbox, want)
        wires, routes = [self._wire(sandbox, endpoint)], self._routes(sandbox)

        def work(netlink: Netlink) -> None:
            wiring.connect(netlink, netns, wires, [])
            with inside(netns), Netlink() as inner:
                wiring.reroute(inner, routes)

        try:
            await core.thread.run(work)
        except BaseException:
            self._leave(sandbox, want.network)
            raise
        await self._moved(sandbox, run_dir)
        if sandbox.resolver and not resolved:
            await self.serve_names(sandbox, netns)
        self._tell("connect", sandbox, want.network, endpoint)
        return endpoint

    async def disconnect(self, sandbox: Sandbox, network: Network, netns: int, run_dir: str) -> None:
        """Take one network away from a running container."""
        core = self._core
        endpoint = sandbox.endpoints[network.id]
        self._leave(sandbox, network)
        routes = self._routes(sandbox)
        await core.thread.run(lambda netlink: wiring.disconnect(netlink, netns, [endpoint], routes))
        await self._moved(sandbox, run_dir)
        self._tell("disconnect", sandbox, network, endpoint)

    async def _moved(self, sandbox: Sandbox, run_dir: str) -> None:
        """What follows from other endpoints: the record, and where published ports lead."""
        write_atomic(f"{run_dir}/{FILE}", _encode(sandbox), durable=False)
        if sandbox.ports:
            await self._core.apply()
            self._relays.follow(self._core.taken.get(sandbox.container, ()), self._target(sandbox))

    def _leave(self, sandbox: Sandbox, network: Network) -> None:
        endpoint = sandbox.endpoints.pop(network.id, None)
        self._wishes.pop((sandbox.container, network.id), None)
        if endpoint is not None:
            self._give_back(endpoint)

    def _give_back(self, endpoint: Endpoint) -> None:
        network = self._core.networks.get(endpoint.network)
        for six, address in ((False, endpoint.ipv4), (True, endpoint.ipv6)):
            if network is not None and address:
                for pool in self._core.addresses(network, six):
                    if pool.contains(address):
                        pool.give_back(address)

    def rename(self, container_id: str, old: str, new: str) -> None:
        """The container has another name: the one it is found by changes with it."""
        sandbox = self._core.sandboxes.get(container_id)
        if sandbox is not None:
            sandbox.name = new
            for endpoint in sandbox.endpoints.values():
                endpoint.names = [new if name == old else name for name in endpoint.names]

    async def counters(self, sandbox: Sandbox) -> dict[str, dict[str, int]]:
        """docker's counters by interface, as the container sees them."""
        links = {entry.host_link: entry.interface for entry in sandbox.endpoints.values() if entry.host_link}
        return await self._core.thread.run(lambda netlink: wiring.counters(netlink, links))

    # -- end -----------------------------------------------------------------------------------------------

    def release(self, container_id: str) -> None:
        """The run is over, or was never wired: everything is free again, and told. Idempotent."""
        core = self._core
        sandbox = core.sandboxes.pop(container_id, None)
        if sandbox is None:
            return
        taken = core.taken.pop(container_id, [])
        self._resolvers.end(container_id)
        self._relays.forget(taken)
        core.ports.give_back(taken)
        if sandbox.ports:
            core.spawn(self._withdraw())
        for key, endpoint in sandbox.endpoints.items():
            self._wishes.pop((container_id, key), None)
            self._give_back(endpoint)
            if endpoint.host_link:
                self._leaving.add(endpoint.host_link)
            if key in core.networks:
                self._tell("disconnect", sandbox, core.networks[key], endpoint)
        if self._leaving:
            asyncio.get_running_loop().call_later(_LEFTOVER_S, lambda: core.spawn(self._look_for_leftovers()))

    async def _withdraw(self) -> None:
        try:
            await self._core.apply()
        except OnggiError:
            return  # the next change says so to somebody who asked for it

    async def _look_for_leftovers(self) -> None:
        """A namespace that somebody else keeps keeps its interfaces, too: take them away from outside."""
        names, self._leaving = self._leaving, set()
        if names:
            left = await self._core.thread.run(lambda netlink: wiring.leftovers(netlink, names))
            if left:
                await self._core.thread.run(lambda netlink: wiring.remove_links(netlink, left))

    # -- recovery ------------------------------------------------------------------------------------------

    def adopt(self, container_id: str, name: str, run_dir: str) -> None:
        """Take over the sandbox of a run that an earlier engine wired."""
        core = self._core
        try:
            with open(f"{run_dir}/{FILE}", "rb") as file:
                sandbox = _decode(file.read())
        except (FileNotFoundError, msgspec.DecodeError):
            return
        sandbox.name = name
        sandbox.endpoints = {key: entry for key, entry in sandbox.endpoints.items() if key in core.networks}
        core.sandboxes[container_id] = sandbox
        for key, endpoint in sandbox.endpoints.items():
            for six, address in ((False, endpoint.ipv4), (True, endpoint.ipv6)):
                for pool in core.addresses(core.networks[key], six) if address else ():
                    if pool.contains(address):
                        pool.adopt(address)
        core.taken[container_id] = [core.ports.adopt(port, name) for port in sandbox.ports]
        self._relays.follow(core.taken[container_id], self._target(sandbox))

    async def sweep(self) -> None:
        """Remove interfaces on our bridges that belong to nobody we know."""
        core = self._core
        bridges = {
            core.networks[key].bridge for key in core.realized if core.networks[key].driver == "bridge"
        }
        known = {entry.host_link for box in core.sandboxes.values() for entry in box.endpoints.values()}
        strays = await core.thread.run(lambda netlink: wiring.strays(netlink, bridges, known))
        if strays:
            await core.thread.run(lambda netlink: wiring.remove_links(netlink, strays))

    def close(self) -> None:
        self._relays.close()
        self._resolvers.close()


def dns_names(member: Member, aliases: Sequence[str]) -> list[str]:
    """The names that a container has in a network of a person's making, in docker's order."""
    names = [member.name, *aliases, member.id[:12], member.hostname]
    return list(dict.fromkeys(name for name in names if name))


def _names(sandbox: Sandbox, wish: Wish) -> list[str]:
    return dns_names(Member(sandbox.container, sandbox.name, sandbox.hostname, sandbox.run), wish.aliases)


def _link(text: str) -> tuple[str, str]:
    """alias -> container of ``container[:alias]``."""
    name, _, alias = text.partition(":")
    return (alias or name).removeprefix("/"), name.removeprefix("/")


def _random_mac() -> str:
    raw = bytearray(os.urandom(6))
    raw[0] = raw[0] & 0xFC | 2  # locally administered, for one machine
    return raw.hex(":")
