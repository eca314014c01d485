"""The registry on a real database and directories: what is promised, what a kill leaves, who holds what."""

import asyncio
import os
import stat

import pytest

from onggi.errors import Conflict, InvalidArgument, NotFound, Unavailable
from onggi.store.database import Database
from onggi.volumes.holding import Holding
from onggi.volumes.model import ANONYMOUS, Wish
from onggi.volumes.registry import Registry
from onggi.volumes.schema import MIGRATIONS
from onggi.volumes.service import Volumes


class World:
    """One room; ``reopen`` is what the next process finds."""

    def __init__(self, root):
        self.root, self.events = root, []
        self.database = None
        self.reopen()

    def reopen(self):
        self.close()
        self.database = Database(str(self.root / "meta.db"), MIGRATIONS)
        publish = lambda *event: self.events.append(event)  # noqa: E731
        self.registry = Registry(self.database, str(self.root / "volumes"), publish)
        self.registry.recover()
        self.service, self.holding = Volumes(self.registry), Holding(self.registry)

    def close(self):
        if self.database:
            self.registry.directories.trash.close()
            self.database.close()

    def names(self):
        return {name for name in os.listdir(self.root / "volumes") if name != ".trash"}

    def mode(self, name):
        return stat.S_IMODE(os.stat(self.root / "volumes" / name).st_mode)

    def run(self, scenario):
        return asyncio.run(scenario)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


def test_a_volume_is_private_and_promised(world):
    answer = world.run(world.service.create({"Name": "data", "Labels": {"a": "b"}}))
    assert (answer["Name"], answer["Labels"]) == ("data", {"a": "b"})
    assert os.path.isdir(answer["Mountpoint"])
    assert world.mode("data") == 0o700
    assert world.mode("data/_data") == 0o755
    world.reopen()
    assert world.run(world.service.inspect("data")) == answer
    assert world.run(world.service.create({"name": "data", "LABELS": {"c": "d"}})) == answer


def test_what_is_not_promised_goes_and_the_rest_becomes_a_volume(world):
    """A kill leaves directories without rows; a database that is lost leaves them too."""
    for name in ("promised", "0" * 64, "removed"):
        world.run(world.service.create({"Name": name}))
    world.registry.directories.take_back(["removed"])
    world.registry.directories.make("made")
    (world.root / "volumes/stray-file").touch()
    world.database.run_blocking(lambda it: it.execute("DELETE FROM volumes"))
    world.reopen()
    assert world.names() == {"promised", "0" * 64, "stray-file"}
    assert world.run(world.service.inspect("0" * 64))["Labels"] == {ANONYMOUS: ""}
    world.reopen()
    assert {volume["Name"] for volume in world.run(world.service.list())} == {"promised", "0" * 64}


def test_half_copies_go(world):
    world.run(world.service.create({"Name": "data"}))
    (world.root / "volumes/data/_copy/deep").mkdir(parents=True)
    world.reopen()
    assert os.listdir(world.root / "volumes/data") == ["_data"]


def test_removal(world):
    async def scenario():
        await world.holding.take(Wish(name="data"), "c1")
        await world.holding.share("data", "c2")
        with pytest.raises(Conflict, match=r"remove data: volume is in use - \[c1, c2\]"):
            await world.service.remove("data", force=True)
        for container in ("c1", "c2"):
            async with world.holding.leaving(container, ["data"] if container == "c1" else []):
                pass
        await world.service.remove("data")
        with pytest.raises(NotFound, match="get data: no such volume"):
            await world.service.remove("data")
        await world.service.remove("data", force=True)

    world.run(scenario())
    assert world.names() == set()
    assert [event[1] for event in world.events] == ["create", "destroy"]


def test_anonymous_volumes_leave_with_their_last_container(world):
    async def scenario():
        draft = await world.holding.draft(Wish(), "c1")
        assert world.mode(draft.name) == 0o1700
        await world.database.run(world.holding.record([draft]))
        world.holding.recorded([draft], durable=True)
        assert world.mode(draft.name) == 0o700
        await world.holding.share(draft.name, "c2")
        async with world.holding.leaving("c1", [draft.name]) as departure:
            await world.database.run(departure.drop, after=lambda _: departure.discard())
        assert world.names() == {draft.name}
        async with world.holding.leaving("c2", [draft.name]) as departure:
            await world.database.run(departure.drop, after=lambda _: departure.discard())

    world.run(scenario())
    assert world.names() == set()
    world.reopen()
    assert world.registry.volumes == {}


def test_a_departure_that_fails_changes_nothing(world):
    async def scenario():
        draft = await world.holding.draft(Wish(), "c1")
        with pytest.raises(OSError, match="disk"):
            async with world.holding.leaving("c1", [draft.name]):
                raise OSError("disk")
        assert world.registry.holders(draft.name) == ["c1"]

    world.run(scenario())


def test_one_volume_for_many_at_once(world):
    async def scenario():
        wishes = [world.holding.take(Wish(name="data"), f"c{number}") for number in range(20)]
        found = await asyncio.gather(*wishes)
        assert all(volume is found[0] for volume in found)
        assert len(world.registry.holders("data")) == 20

    world.run(scenario())
    assert [event[1] for event in world.events] == ["create"]


def test_prune_and_usage(world):
    async def scenario():
        for name in ("used", "idle"):
            await world.service.create({"Name": name})
        made_up = (await world.service.create({}))["Name"]
        await world.holding.share("used", "c1")
        (world.root / "volumes/idle/_data/file").write_bytes(b"x" * 10_000)
        rows = {row["Name"]: row["UsageData"] for row in await world.service.usage()}
        assert rows["idle"]["Size"] >= 10_000
        assert (rows["used"]["RefCount"], rows["idle"]["RefCount"]) == (1, 0)
        names = lambda found: [volume["Name"] for volume in found]  # noqa: E731
        assert names(await world.service.list({"dangling": ["false"]})) == ["used"]
        assert sorted(names(await world.service.list({"dangling": ["1"]}))) == sorted(["idle", made_up])
        assert (await world.service.prune())["VolumesDeleted"] == [made_up]
        pruned = await world.service.prune({"all": ["true"]})
        assert (pruned["VolumesDeleted"], pruned["SpaceReclaimed"] >= 10_000) == (["idle"], True)

    world.run(scenario())
    assert world.events[-1][:3] == ("volume", "prune", "")


@pytest.mark.parametrize("body", [None, [], {"Name": 1}, {"Name": "x", "Labels": ["a"]}])
def test_bodies_that_are_none(world, body):
    with pytest.raises(InvalidArgument):
        world.run(world.service.create(body))


def test_cluster_volumes_need_a_swarm(world):
    with pytest.raises(Unavailable, match="not a swarm manager"):
        world.run(world.service.create({"ClusterVolumeSpec": {}}))
