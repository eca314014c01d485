"""Statistics as a stream: it ends with the container, not with the next sample."""

import asyncio
from types import SimpleNamespace

import pytest

from onggi.api.routes import streams

DEADLINE_S = 60


class Containers:
    """One container; ``removed`` is what waits for its removal."""

    def __init__(self):
        self.removed = None

    async def stats(self, ref):
        return {"id": "1234", "cpu_stats": {"system_cpu_usage": 1}}

    async def wait(self, ref, condition):
        assert (ref, condition) == ("1234", "removed")
        self.removed = asyncio.get_running_loop().create_future()
        return self.removed


@pytest.fixture(autouse=True)
def no_second_sample(monkeypatch):
    monkeypatch.setattr(streams, "STATS_PERIOD_S", 3600)


async def begun(containers):
    """The lines of a stream whose first was read."""
    request = SimpleNamespace(query="", params={"id": "name"}, api_version=(1, 51))
    lines = (await streams.stats(SimpleNamespace(containers=containers), request)).chunks
    assert b"1234" in await anext(lines)
    return lines


def test_the_removal_of_the_container_ends_it_at_once():
    async def scene():
        containers = Containers()
        lines = await begun(containers)
        rest = asyncio.ensure_future(anext(lines, b""))
        await asyncio.sleep(0)
        containers.removed.set_result({})
        assert await asyncio.wait_for(rest, DEADLINE_S) == b""

    asyncio.run(scene())


def test_a_client_that_leaves_waits_for_nothing():
    async def scene():
        containers = Containers()
        await (await begun(containers)).aclose()
        assert containers.removed.cancelled()

    asyncio.run(scene())
