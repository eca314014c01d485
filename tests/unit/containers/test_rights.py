"""One function builds the process of a run, an exec, a health check and a restart: equal rights for all."""

import asyncio
import tempfile
from pathlib import Path

from fake_containers import CAPABILITIES, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onggi.containers.options import ExecOptions

NAMES = [name.removeprefix("CAP_") for name in CAPABILITIES.split()]
ASKED = st.fixed_dictionaries(
    {
        "CapAdd": st.lists(st.sampled_from([*NAMES, "ALL"]), max_size=4, unique=True),
        "CapDrop": st.lists(st.sampled_from([*NAMES, "ALL"]), max_size=4, unique=True),
        "Privileged": st.booleans(),
        "SecurityOpt": st.lists(
            st.sampled_from(["no-new-privileges", "seccomp=unconfined"]), max_size=2, unique=True
        ),
        "GroupAdd": st.lists(st.sampled_from(["wheel", "7", "2147483647"]), max_size=3, unique=True),
        "Ulimits": st.lists(st.just({"Name": "nofile", "Soft": 9, "Hard": 10}), max_size=1),
        "OomScoreAdj": st.integers(0, 1000),
    }
)
USER = st.sampled_from(["", "root", "app", "1000:10", "5:wheel"])
SAME = ("user", "capabilities", "noNewPrivileges", "rlimits", "oomScoreAdj")
PROBE = {"Test": ["CMD", "probe"], "Interval": 1_000_000}


def rights(process):
    return {key: process[key] for key in SAME}


async def processes(world, host, user):
    """The processes of one container's run, exec, probe and second run, and all their filters."""
    await world.create(User=user, Healthcheck=PROBE, HostConfig=host)
    await world.containers.start("c1")
    probing = asyncio.create_task(called(world.runtime, "probe"))
    exec_id = await world.containers.exec_create("c1", {"Cmd": ["other"]})
    await world.containers.exec_start(exec_id, ExecOptions(detach=True), None)
    other, probe = await called(world.runtime, "other"), await probing
    await world.containers.restart("c1", timeout_s=0)
    first, second = world.runtime.requests
    filters = [request.seccomp for request in (first, second)]
    filters += [arguments["seccomp"] for verb, arguments in world.runtime.calls if verb == "exec"]
    return [first.config()["process"], other, probe, second.config()["process"]], filters


async def called(runtime, word):
    """The process of the exec that runs ``word``, once the monitor is asked for it."""
    while True:
        for verb, arguments in runtime.calls:
            if verb == "exec" and arguments["process"]["args"] == [word]:
                return arguments["process"]
        await asyncio.sleep(0.001)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(ASKED, USER)
def test_every_process_of_a_container_has_the_same_rights(host, user):
    async def scene():
        with tempfile.TemporaryDirectory() as directory:
            world = World(Path(directory))
            try:
                return await asyncio.wait_for(processes(world, host, user), 30)
            finally:
                await world.close()

    found, filters = asyncio.run(scene())
    assert [rights(process) for process in found[1:]] == [rights(found[0])] * 3
    assert len(filters) >= 4
    assert set(filters) == {filters[0]}
