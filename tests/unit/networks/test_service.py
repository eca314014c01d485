"""The service on a real database and a machine of the test's own making: who gets which subnet."""

import asyncio
from ipaddress import ip_network

import pytest

from onggi.errors import Conflict, Forbidden, InvalidArgument
from onggi.networks.core import Settings
from onggi.networks.filters import predicate
from onggi.networks.repository import MIGRATIONS
from onggi.networks.request import CreateNetwork, Ipam, IpamConfig
from onggi.networks.service import Networks
from onggi.store.database import Database


class Machine:
    """A kernel that takes its time to say which ``routes`` it has."""

    def __init__(self):
        self.routes = []

    async def run(self, work):
        for _ in range(10):  # whoever else is there gets his turn
            await asyncio.sleep(0)
        return self.routes

    def close(self):
        pass


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A function: what a coroutine of (networks, machine) returns."""

    async def within(work):
        database = Database(str(tmp_path / "meta.db"), MIGRATIONS)
        networks, machine = Networks(database, Settings(), lambda *event: None), Machine()
        networks.core.thread.close()
        networks.core.thread = machine

        async def realize(network):
            await asyncio.sleep(0)

        monkeypatch.setattr(networks.core, "realize", realize)
        try:
            await networks.load()
            return await work(networks, machine)
        finally:
            await networks.close()
            database.close()

    return lambda work: asyncio.run(within(work))


def subnets(networks):
    return [ip_network(it.subnet) for network in networks.core.networks.values() for it in network.subnets]


def apart(found):
    return not any(one.overlaps(other) for one in found for other in found if one is not other)


def test_networks_that_are_made_at_once_share_no_subnet(world):
    async def work(networks, machine):
        bodies = [CreateNetwork(name=f"n{number}", enable_ipv6=True) for number in range(8)]
        await asyncio.gather(*map(networks.create, bodies))
        return subnets(networks)

    found = world(work)
    assert len(found) == 17
    assert apart([it for it in found if it.version == 4])
    assert apart([it for it in found if it.version == 6])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["1", "0"], 'got more than one value for filter key "dangling"'),
        (["TRUE"], """invalid value for filter 'dangling', must be "true" (or "1"), or "false" (or "0")"""),
    ],
)
def test_wrong_filters(world, given, words):
    async def work(networks, machine):
        with pytest.raises(InvalidArgument) as refused:
            predicate(networks.core, {"dangling": given})
        return str(refused.value)

    assert world(work) == words


def test_one_of_a_name(world):
    async def work(networks, machine):
        bodies = [CreateNetwork(name="same") for _ in range(3)]
        return await asyncio.gather(*map(networks.create, bodies), return_exceptions=True)

    assert sorted(isinstance(it, Conflict) for it in world(work)) == [False, True, True]


def test_a_bridge_has_one_subnet_of_a_family(world):
    async def work(networks, machine):
        for pair in (["10.1.0.0/24", "10.2.0.0/24"], ["fd00:1::/64", "fd00:2::/64"]):
            config = [IpamConfig(subnet=subnet) for subnet in pair]
            body = CreateNetwork(name="two", enable_ipv6=True, ipam=Ipam(config=config))
            with pytest.raises(Forbidden, match=r"^bridge driver doesn't support multiple subnets$"):
                await networks.create(body)
        config = [IpamConfig(subnet=subnet) for subnet in ("10.1.0.0/24", "10.1.0.0/16")]
        with pytest.raises(Forbidden, match="Pool overlaps"):
            await networks.create(CreateNetwork(name="two", ipam=Ipam(config=config)))
        config = [IpamConfig(subnet=subnet) for subnet in ("10.1.0.0/24", "fd00:1::/64")]
        await networks.create(CreateNetwork(name="both", enable_ipv6=True, ipam=Ipam(config=config)))
        return subnets(networks)

    assert len(world(work)) == 3


def test_the_default_network_moves_to_a_subnet_of_its_own(world):
    async def work(networks, machine):
        machine.routes = [ip_network("172.17.0.0/16")]  # a VPN came up
        moving = asyncio.ensure_future(networks.move_default())
        making = asyncio.ensure_future(networks.create(CreateNetwork(name="other")))
        while not (moving.done() and making.done()):
            assert networks.find("bridge").subnets
            await asyncio.sleep(0)
        await asyncio.gather(moving, making)
        return subnets(networks)

    found = world(work)
    assert len(found) == 2
    assert apart([*found, ip_network("172.17.0.0/16")])
