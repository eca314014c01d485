"""What was compiled for one container serves another of the same shape, and no other."""

import asyncio
import json

import pytest
from fake_containers import World

from onggi.containers.payload import Payloads
from onggi.kernel import features
from onggi.kernel.cgroup_mounts import probe
from onggi.runtime import plan as plans

HIERARCHIES = probe("1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw", "0::/")


def requests_of(tmp_path, *bodies):
    """Start requests of containers that are created with the given bodies."""

    async def main():
        world = World(tmp_path)
        try:
            for number, body in enumerate(bodies):
                await world.create(f"c{number}", **body)
                await world.containers.start(f"c{number}")
            return world.runtime.requests
        finally:
            await world.close()

    return asyncio.run(main())


def payloads():
    return Payloads(features.probe(), HIERARCHIES, "/run/root")


def test_the_second_of_a_shape_gets_what_it_would_have_got_alone(tmp_path):
    shared = payloads()
    first, second = requests_of(tmp_path, {}, {})
    assert first.shape == second.shape
    shared.make(first)
    found, alone = shared.make(second), payloads().make(second)
    assert json.loads(found.plan) == json.loads(alone.plan)
    assert json.loads(found.request) == json.loads(alone.request)
    assert found.cgroup == alone.cgroup
    assert first.id.encode() not in found.plan + found.request
    assert first.id[:12].encode() not in found.plan + found.request
    assert json.loads(found.plan) == json.loads(json.dumps(plans.dump(payloads().plan(second))))


@pytest.mark.parametrize(
    "body",
    [
        {"Env": ["A=b"]},
        {"Hostname": "own"},
        {"User": "app"},
        {"HostConfig": {"Memory": 64 << 20}},
        {"HostConfig": {"SecurityOpt": ["no-new-privileges"]}},
        {"HostConfig": {"CapAdd": ["SYS_PTRACE"]}},
        {"HostConfig": {"Binds": ["/tmp:/mnt"]}},
    ],
)
def test_whoever_asks_for_something_else_has_another_shape(tmp_path, body):
    plain, other = requests_of(tmp_path, {}, body)
    assert plain.shape != other.shape


def test_a_client_that_names_an_earlier_container_gets_its_words_unchanged(tmp_path):
    async def main():
        world = World(tmp_path)
        try:
            before = await world.create("before")
            body = {"Env": [f"PEER={before}", f"SHORT={before[:12]}"]}
            for name in ("one", "two"):
                await world.create(name, **body)
            for name in ("before", "one", "two"):
                await world.containers.start(name)
            return before, world.runtime.requests
        finally:
            await world.close()

    before, requests = asyncio.run(main())
    shared = payloads()
    made = [json.loads(shared.make(request).plan) for request in requests]
    for plan in made[1:]:
        environment = plans.load(plan).process.env
        assert {f"PEER={before}", f"SHORT={before[:12]}"} <= set(environment)


@pytest.mark.parametrize(
    "host",
    [
        {"Privileged": True},
        {"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]},
    ],
)
def test_what_depends_on_the_machine_is_compiled_each_time(tmp_path, host):
    [request] = requests_of(tmp_path, {"HostConfig": host})
    assert request.shape is None
