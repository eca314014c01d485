"""The container service against a fake runtime: states, waiting, removal, restart, recovery."""

import asyncio
import os
import socket

import pytest
from fake_containers import World

from onggi.containers import records, repository
from onggi.containers.options import AttachOptions, ExecOptions, Hijacked
from onggi.containers.runtime import ExitRecord, MonitorState
from onggi.errors import CommandNotFound, Conflict, InvalidArgument, NotFound, NotModified
from onggi.networks.request import Connect, Disconnect

NOT_FOUND = CommandNotFound('exec: "nope": executable file not found in $PATH')


def service_test(function):
    """Run a coroutine test on a world of its own."""

    def test(tmp_path):
        async def main():
            world = World(tmp_path)
            try:
                await asyncio.wait_for(function(world), 30)
            finally:
                await world.close()

        asyncio.run(main())

    test.__name__ = function.__name__
    return test


@service_test
async def test_a_container_lives_and_is_removed(world):
    container_id = await world.create()
    ending = await world.containers.wait("c1", "next-exit")
    await world.containers.start("c1")
    assert (await world.containers.inspect("c1", False))["State"]["Status"] == "running"
    world.runtime.finish(container_id, 3)
    assert await ending == {"StatusCode": 3, "Error": None}
    assert (await world.containers.inspect("c1", False))["State"]["ExitCode"] == 3
    await world.containers.remove("c1")
    with pytest.raises(NotFound, match="No such container: c1"):
        await world.containers.inspect("c1", False)
    assert not world.snapshots.prepared
    assert os.listdir(world.root / "data/containers") == []
    assert world.actions() == ["create", "start", "die", "destroy"]


@service_test
async def test_rm_container_leaves_a_tombstone(world):
    container_id = await world.create(HostConfig={"AutoRemove": True})
    removed = await world.containers.wait("c1", "removed")
    await world.containers.start("c1")
    world.runtime.finish(container_id, 7)
    assert (await removed)["StatusCode"] == 7
    again = await world.containers.wait(container_id, "removed")
    assert (await again)["StatusCode"] == 7
    with pytest.raises(NotFound):
        await world.containers.wait("nobody", "")


@service_test
async def test_what_was_given_is_shown_though_it_is_nothing(world):
    given = {"Init": False, "CpuShares": 1}
    rows = {"80": [{"HostPort": "8080"}]}
    await world.create(StopTimeout=0, Healthcheck={}, HostConfig={**given, "PortBindings": rows})
    shown = await world.containers.inspect("c1", False)
    assert (shown["Config"]["StopTimeout"], "Healthcheck" in shown["Config"]) == (0, True)
    assert {key: shown["HostConfig"][key] for key in given} == given
    assert shown["HostConfig"]["PortBindings"] == {"80": [{"HostIp": "", "HostPort": "8080"}]}
    await world.create(name="c2")
    shown = await world.containers.inspect("c2", False)
    assert not {"StopTimeout", "Healthcheck", "Init"} & {*shown["Config"], *shown["HostConfig"]}


@service_test
async def test_the_mac_of_the_main_network_is_where_older_clients_look(world):
    endpoints = {"bridge": {"MacAddress": "02:42:ac:11:00:09"}}
    await world.create(NetworkingConfig={"EndpointsConfig": endpoints}, HostConfig={"NetworkMode": "bridge"})
    assert (await world.containers.inspect("c1", False))["Config"]["MacAddress"] == "02:42:ac:11:00:09"


@service_test
async def test_failed_start_keeps_the_error(world):
    await world.create()
    world.runtime.fail = NOT_FOUND
    with pytest.raises(CommandNotFound):
        await world.containers.start("c1")
    state = (await world.containers.inspect("c1", False))["State"]
    assert (state["Status"], state["ExitCode"], state["Running"]) == ("created", 127, False)
    assert "executable file not found" in state["Error"]


@service_test
async def test_a_failed_start_is_nobodys_next_exit(world):
    container_id = await world.create()
    ending = await world.containers.wait("c1", "next-exit")
    world.runtime.fail = NOT_FOUND
    with pytest.raises(CommandNotFound):
        await world.containers.start("c1")
    assert not ending.done()
    assert "die" not in world.actions()
    world.runtime.fail = None
    await world.containers.start("c1")
    world.runtime.finish(container_id, 3)
    assert await ending == {"StatusCode": 3, "Error": None}


@service_test
async def test_a_failed_restart_ends_what_waits_for_the_run(world):
    container_id = await world.create(HostConfig={"RestartPolicy": {"Name": "always"}})
    await world.containers.start("c1")
    ending = await world.containers.wait("c1", "next-exit")
    world.runtime.fail = NOT_FOUND
    world.runtime.finish(container_id, 3)
    await ending
    waiting = await world.containers.wait("c1", "")
    assert (await asyncio.wait_for(waiting, 30))["StatusCode"] == 3
    state = (await world.containers.inspect("c1", False))["State"]
    assert (state["Status"], state["ExitCode"], "not found" in state["Error"]) == ("exited", 3, True)


@service_test
async def test_stop_signals_then_kills(world):
    await world.create()
    await world.containers.start("c1")
    world.runtime.deaf = True
    await world.containers.stop("c1", timeout_s=0, signal=None)
    assert [verb for verb, _ in world.runtime.calls] == ["signal", "kill"]
    assert (await world.containers.inspect("c1", False))["State"]["ExitCode"] == 137
    with pytest.raises(NotModified):
        await world.containers.stop("c1", timeout_s=0, signal=None)


@service_test
async def test_names_are_taken_once(world):
    container_id = await world.create()
    with pytest.raises(Conflict) as raised:
        await world.create()
    assert str(raised.value) == (
        f'Conflict. The container name "/c1" is already in use by container "{container_id}". You have '
        "to remove (or rename) that container to be able to reuse that name."
    )
    await world.containers.rename("c1", "c2")
    await world.create()
    assert (await world.containers.inspect(container_id[:12], False))["Name"] == "/c2"


@service_test
async def test_refusals_leave_nothing(world):
    for host, error in (
        ({"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}, InvalidArgument),
        ({"Binds": ["v/:/data"]}, InvalidArgument),
        ({"Memory": 1000}, InvalidArgument),
        ({"CapAdd": ["NOPE"]}, InvalidArgument),
    ):
        with pytest.raises(error):
            await world.create(HostConfig=host)
    assert world.context.names == {} == world.context.containers


@service_test
async def test_pause_unpause_and_force_removal(world):
    await world.create()
    await world.containers.start("c1")
    await world.containers.pause("c1")
    assert (await world.containers.list(all=False, limit=0, size=False, filters={}))[0]["State"] == "paused"
    with pytest.raises(Conflict, match="paused and must be unpaused first"):
        await world.containers.remove("c1")
    await world.containers.unpause("c1")
    with pytest.raises(Conflict, match="container is running: stop the container"):
        await world.containers.remove("c1")
    await world.containers.remove("c1", force=True)
    assert world.context.containers == {}


@service_test
async def test_restart_policy_backs_off_and_ends(world):
    container_id = await world.create(
        HostConfig={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 1}}
    )
    await world.containers.start("c1")
    subscription = world.events.subscribe(filters={"type": ["container"]})
    seen = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    world.runtime.finish(container_id, 1)
    assert (await seen)["Action"] == "die"
    assert (await anext(subscription))["Action"] == "start"
    world.runtime.finish(container_id, 1)
    assert (await anext(subscription))["Action"] == "die"
    ended = await world.containers.wait("c1", "")
    assert (await ended)["StatusCode"] == 1
    inspected = await world.containers.inspect("c1", False)
    assert (inspected["RestartCount"], inspected["State"]["Status"]) == (1, "exited")
    await world.containers.restart("c1", timeout_s=None, signal=None)  # a user's restart counts anew
    assert (await world.containers.inspect("c1", False))["RestartCount"] == 0


@service_test
async def test_a_restart_does_not_bring_back_what_is_being_removed(world):
    container_id = await world.create()
    container = world.context.find(container_id)
    async with container.lock:
        restart = asyncio.ensure_future(world.containers.restart("c1", timeout_s=None, signal=None))
        removal = asyncio.ensure_future(world.containers.remove("c1"))
        await asyncio.sleep(0)
    await removal
    with pytest.raises((Conflict, NotFound)):
        await restart
    assert await world.database.run(lambda it: it.execute("SELECT id FROM containers").fetchall()) == []


@service_test
async def test_stopping_a_restarting_container(world):
    container_id = await world.create(HostConfig={"RestartPolicy": {"Name": "always"}})
    await world.containers.start("c1")
    ending = await world.containers.wait("c1", "next-exit")
    world.runtime.finish(container_id, 1)
    await ending
    assert (await world.containers.inspect("c1", False))["State"]["Status"] == "restarting"
    await world.containers.stop("c1", timeout_s=0, signal=None)
    assert (await world.containers.inspect("c1", False))["State"]["Status"] == "exited"


@service_test
async def test_the_stop_signal_wakes_a_paused_container_and_keeps_it_down(world):
    world.runtime.deaf = True
    always = {"RestartPolicy": {"Name": "always"}}
    for chosen, sent, down in [
        ("", "HUP", True), ("", "TERM", True),
        ("HUP", "HUP", True), ("HUP", "KILL", True), ("HUP", "TERM", False),
    ]:  # fmt: skip
        name = f"c{chosen}{sent}"
        container_id = await world.create(name, StopSignal=chosen, HostConfig=always)
        await world.containers.start(name)
        ending = await world.containers.wait(name, "next-exit")
        await world.containers.pause(name)
        world.runtime.calls.clear()
        await world.containers.kill(name, sent)
        assert ("resume" in [verb for verb, _ in world.runtime.calls]) is down
        world.runtime.finish(container_id, 1)
        await ending
        state = (await world.containers.inspect(name, False))["State"]
        assert state["Status"] == ("exited" if down else "restarting"), name


@service_test
async def test_exec_lives_and_reports(world):
    container_id = await world.create()
    with pytest.raises(Conflict, match="is not running"):
        await world.containers.exec_create("c1", {"Cmd": ["id"]})
    await world.containers.start("c1")
    exec_id = await world.containers.exec_create("c1", {"Cmd": ["id"], "User": "app", "Env": ["B=2"]})
    await world.containers.exec_start(exec_id, ExecOptions(detach=True), None)
    arguments = dict(world.runtime.calls)["exec"]
    assert arguments["process"]["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [1000, 10]}
    assert "HOME=/home/app" in arguments["process"]["env"]
    assert (await world.containers.exec_inspect(exec_id))["Running"]
    with pytest.raises(Conflict, match=f"^exec command {exec_id} is already running$"):
        await world.containers.exec_start(exec_id, ExecOptions(detach=True), None)
    world.runtime.finish_exec(exec_id, 5)
    while (inspected := await world.containers.exec_inspect(exec_id))["Running"]:
        await asyncio.sleep(0)
    assert inspected == {  # every field of dockerd's, and no other
        "ID": exec_id,
        "Running": False,
        "ExitCode": 5,
        "ProcessConfig": {
            "tty": False, "entrypoint": "id", "arguments": [], "privileged": False, "user": "app"
        },
        "OpenStdin": False,
        "OpenStderr": False,
        "OpenStdout": False,
        "CanRemove": False,
        "ContainerID": container_id,
        "DetachKeys": "",
        "Pid": 0,
    }  # fmt: skip
    with pytest.raises(Conflict, match=f"^exec command {exec_id} has already run$"):
        await world.containers.exec_start(exec_id, ExecOptions(detach=True), None)


@service_test
async def test_an_exec_that_fails_has_a_start_in_the_events(world):
    await world.create()
    await world.containers.start("c1")
    exec_id = await world.containers.exec_create("c1", {"Cmd": ["nosuch"]})
    world.runtime.fail = CommandNotFound('exec: "nosuch": executable file not found in $PATH')
    with pytest.raises(CommandNotFound):
        await world.containers.exec_start(exec_id, ExecOptions(), None)
    assert world.actions()[-2:] == ["exec_create: nosuch ", "exec_start: nosuch "]
    with pytest.raises(Conflict, match="is not running"):
        await world.containers.exec_resize(exec_id, 24, 80)


@service_test
async def test_attach_to_nothing_is_answered_and_ends(world):
    await world.create()
    for options in (AttachOptions(stdout=True), AttachOptions(stream=True)):
        ours, theirs = socket.socketpair()

        async def hijack(theirs=theirs):
            return Hijacked(theirs.detach(), b"")

        with ours:
            await world.containers.attach("c1", options, hijack)
            assert ours.recv(1) == b""


@service_test
async def test_a_limit_of_processes_is_taken_back(world):
    await world.create(HostConfig={"PidsLimit": 32}, WorkingDir="/tmp/")
    for none in (0, -1, -2):
        await world.containers.update("c1", {"PidsLimit": 32})
        await world.containers.update("c1", {"PidsLimit": none})
        inspected = await world.containers.inspect("c1", False)
        assert inspected["HostConfig"]["PidsLimit"] == 0
    assert inspected["Config"]["WorkingDir"] == "/tmp"


@service_test
async def test_a_request_for_nothing_has_dockers_words(world):
    with pytest.raises(InvalidArgument, match="config cannot be empty in order to create a container"):
        await world.containers.create("c1", {"HostConfig": {}, "NetworkingConfig": None})
    with pytest.raises(InvalidArgument, match="no command specified"):
        await world.containers.create("c1", {"Image": "", "Cmd": None, "HostConfig": {}})


@service_test
async def test_a_prune_reads_its_filters_where_nothing_is_pruned(world):
    with pytest.raises(InvalidArgument, match='failed to parse value as time or duration: "x"'):
        await world.containers.prune({"until": ["x"]})


@service_test
async def test_inspect_has_no_tmpfs_of_the_host_config_and_no_masks_of_the_privileged(world):
    mount = {"Type": "tmpfs", "Target": "/bar"}
    await world.create(HostConfig={"Tmpfs": {"/foo/": ""}, "Mounts": [mount], "Privileged": True})
    inspected = await world.containers.inspect("c1", False)
    assert [entry["Destination"] for entry in inspected["Mounts"]] == ["/bar"]
    assert inspected["HostConfig"]["MaskedPaths"] is inspected["HostConfig"]["ReadonlyPaths"] is None


@service_test
async def test_attach_before_start_travels_with_it(world):
    await world.create(OpenStdin=True)
    ours, theirs = socket.socketpair()

    async def hijack():
        return Hijacked(theirs.detach(), b"early")

    await world.containers.attach("c1", AttachOptions(stdin=True, stdout=True, stream=True), hijack)
    await world.containers.start("c1")
    [attach] = world.runtime.requests[0].attach
    assert (attach.stdin, attach.stdout, attach.stderr, attach.early, attach.framed) == (
        True,
        True,
        False,
        b"early",
        True,
    )
    ours.close()


@service_test
async def test_run_is_one_call_with_a_last_frame(world):
    world.runtime.auto_exit = 4
    ours, theirs = socket.socketpair()

    async def hijack():
        return Hijacked(theirs.detach(), b"")

    body = {
        "Name": "", "Attach": {"Stdout": True}, "Wait": True,
        "Config": {"Image": "busybox", "HostConfig": {"AutoRemove": True, "NetworkMode": "none"}},
    }  # fmt: skip
    status = await world.containers.run(body, hijack)
    data = ours.recv(65536)
    assert data[0] == 5
    assert data[8 + int.from_bytes(data[4:8], "big")] == 4
    assert (status["StatusCode"], status["Error"]) == (4, None)
    assert ours.recv(1) == b""
    assert world.context.containers == {}
    ours.close()


@service_test
async def test_what_is_removed_before_it_starts_does_not_start(world):
    ours, theirs = socket.socketpair()

    async def hijack():
        await world.containers.remove("c1", force=True)
        return Hijacked(theirs.detach(), b"")

    body = {"Name": "c1", "Attach": {}, "Config": {"Image": "busybox"}}
    status = await world.containers.run(body, hijack)
    assert status["StatusCode"] == 125
    assert "marked for removal" in status["Error"]["Message"]
    assert world.context.containers == {}
    ours.close()


@service_test
async def test_run_tells_a_failed_start_in_the_last_frame(world):
    world.runtime.fail = CommandNotFound("exec: nope: executable file not found in $PATH")
    ours, theirs = socket.socketpair()

    async def hijack():
        return Hijacked(theirs.detach(), b"")

    body = {"Attach": {}, "Config": {"Image": "busybox", "HostConfig": {"AutoRemove": True}}}
    status = await world.containers.run(body, hijack)
    assert status["StatusCode"] == 127
    assert "executable file not found" in status["Error"]["Message"]
    assert world.context.containers == {}
    ours.close()


@service_test
async def test_recovery_finds_what_runs_and_books_what_ended(world):
    running, ended, lost, removed = [
        await world.create(name, HostConfig={"AutoRemove": name == "removed"})
        for name in ("running", "ended", "lost", "removed")
    ]
    for container_id in (running, ended, lost, removed):
        await world.containers.start(container_id)
    await world.reopen()
    world.runtime.recovered = {
        running: MonitorState(run=1, pid=99, started_ns=5),
        ended: ExitRecord(run=1, code=6, finished_ns=7),
        removed: ExitRecord(run=1, code=0, finished_ns=7),
    }
    await world.containers.recover()
    states = {entry["Names"][0]: entry["State"] for entry in
              await world.containers.list(all=True, limit=0, size=False, filters={})}  # fmt: skip
    assert states == {"/running": "running", "/ended": "exited", "/lost": "exited"}
    assert world.context.containers[ended].state.exit_code == 6
    assert world.context.containers[lost].state.exit_code == 255
    ending = await world.containers.wait("running", "")
    world.runtime.finish(running, 0)
    assert (await ending)["StatusCode"] == 0


@service_test
async def test_networks_without_wires_are_told_and_shown(world):
    """As with dockerd: events, members and ids also where there is nothing to connect."""

    async def seen(mode):
        shown = (await world.containers.inspect(mode, False))["NetworkSettings"]["Networks"][mode]
        members = (await world.networks.inspect(mode))["Containers"].values()
        assert [(row["Name"], row["EndpointID"]) for row in members] == [(mode, shown["EndpointID"])] * len(
            members
        )
        return [row["EndpointID"] for row in members]

    modes = ("none", "host")
    ids = {mode: await world.create(mode, HostConfig={"NetworkMode": mode}) for mode in modes}
    assert [await seen(mode) for mode in modes] == [[], []]
    for mode in modes:
        await world.containers.start(mode)
    endpoints = [await seen(mode) for mode in modes]
    assert [len(entry) for [entry] in endpoints] == [64, 64]
    await world.reopen()
    for container_id in ids.values():
        world.runtime.recovered[container_id] = MonitorState(run=1, pid=99, started_ns=5)
    await world.containers.recover()
    assert [await seen(mode) for mode in modes] == endpoints  # the run's, whichever engine is asked
    for mode, container_id in ids.items():
        ending = await world.containers.wait(mode, "next-exit")
        world.runtime.finish(container_id, 0)
        await ending
    assert [await seen(mode) for mode in modes] == [[], []]
    assert sorted(world.actions("network")) == ["connect", "connect", "disconnect", "disconnect"]


@service_test
async def test_networks_without_wires_are_left_and_joined(world):
    """What runs has events of it; what does not has none, as with dockerd."""

    async def leave_and_join():
        await world.containers.network_disconnect("none", Disconnect(container="c1"))
        await world.containers.network_connect("none", Connect(container="c1"))
        return world.actions("network")

    await world.create()
    assert await leave_and_join() == []
    await world.containers.start("c1")
    assert await leave_and_join() == ["connect", "disconnect", "connect"]


@service_test
async def test_a_restart_is_counted_unless_the_machine_booted(world):
    """dockerd does not count what it starts again at its own start, which is a boot's for ours."""
    container_id = await world.create(HostConfig={"RestartPolicy": {"Name": "always"}})
    await world.containers.start("c1")
    for rebooted, count in ((False, 1), (False, 2), (True, 0)):
        await world.reopen()
        await world.containers.recover(rebooted=rebooted)
        assert (await world.containers.inspect("c1", False))["RestartCount"] == count
        while not world.runtime.requests:
            await asyncio.sleep(0)
    ending = await world.containers.wait("c1", "next-exit")
    world.runtime.finish(container_id, 1)
    await ending
    assert (await world.containers.inspect("c1", False))["RestartCount"] == 1


@service_test
async def test_after_a_boot_a_policy_starts_what_it_should(world):
    """A run that ended well is no failure; who was stopped by hand comes back with ``always`` alone."""
    for policy in ("no", "on-failure", "unless-stopped", "always"):
        for end in ("stopped", "done"):
            name = f"{end}-{policy}"
            container_id = await world.create(name, HostConfig={"RestartPolicy": {"Name": policy}})
            await world.containers.start(name)
            world.context.containers[container_id].stopped_by_user = end == "stopped"
            world.context.containers[container_id].state.running = False
            await world.context.save(world.context.containers[container_id])
        await world.create(f"never-{policy}", HostConfig={"RestartPolicy": {"Name": policy}})
    for rebooted, started in (
        (False, set()),
        (True, {"stopped-always", "done-always", "done-unless-stopped"}),
    ):
        await world.reopen()
        await world.containers.recover(rebooted=rebooted)
        found = {entry.name for entry in world.context.containers.values() if entry.state.running}
        assert found == started


@service_test
async def test_after_a_boot_rm_containers_are_gone_though_never_started(world):
    await world.create("kept")
    await world.create("gone", HostConfig={"AutoRemove": True})
    await world.reopen()
    await world.containers.recover()
    assert {"kept", "gone"} <= set(world.context.names)
    (world.root / "data/containers/stray").mkdir()
    await world.reopen()
    await world.containers.recover(rebooted=True)
    assert set(world.context.names) == {"kept"}
    assert os.listdir(world.root / "data/containers") == [world.context.names["kept"]]


@service_test
async def test_only_a_row_that_must_survive_power_loss_is_durable(world):
    durable = []
    run = world.database.run

    def spy(fn, *, durable_log=durable, **options):
        durable_log.append(options.get("durable", False))
        return run(fn, **options)

    world.database.run = spy
    await world.create("kept")
    await world.containers.remove("kept")
    assert durable == [True, True]
    durable.clear()
    await world.create("gone", HostConfig={"AutoRemove": True})
    await world.containers.remove("gone")
    assert durable == [False, False]


@service_test
async def test_tombstones_end_in_order(world):
    for name in ("first", "second"):
        await world.create(name)
        await world.containers.remove(name)
    old = {key: (code, 1) for key, (code, _) in world.context.tombstones.items()}
    world.context.tombstones.update(old)
    await world.create("third")
    await world.containers.remove("third")
    assert len(world.context.tombstones) == 2
    assert "third" in world.context.tombstones


@service_test
async def test_a_sigkill_is_answered_when_the_container_is_dead(world):
    await world.create()
    await world.containers.start("c1")
    await world.containers.kill("c1", "KILL")
    assert (await world.containers.inspect("c1", False))["State"]["Status"] == "exited"
    await world.containers.remove("c1", force=False, volumes=False, link=False)


@service_test
async def test_a_wait_that_nobody_awaits_any_more_is_dropped(world):
    await world.create()
    await world.containers.start("c1")
    future = await world.containers.wait("c1", "next-exit")
    waiters = world.context.find("c1").exit_waiters
    assert future in waiters
    future.cancel()
    await asyncio.sleep(0)
    assert future not in waiters


@service_test
async def test_no_start_comes_between_the_answer_to_attach_and_its_place_on_the_list(world):
    """A client starts the container when it has seen the 101."""
    await world.create()
    ours, theirs = socket.socketpair()
    starts = []

    async def hijack():
        starts.append(asyncio.ensure_future(world.containers.start("c1")))
        await asyncio.sleep(0)
        return Hijacked(ours.detach(), b"")

    options = AttachOptions(stdin=False, stdout=True, stderr=True, stream=True, logs=True, detach_keys="")
    await world.containers.attach("c1", options, hijack)
    await starts[0]
    assert len(world.runtime.requests[0].attach) == 1
    theirs.close()


@service_test
async def test_field_names_are_matched_whatever_their_case(world):
    await world.create()
    await world.containers.start("c1")
    exec_id = await world.containers.exec_create("c1", {"cmd": ["true"], "detachKeys": "ctrl-p"})
    assert (await world.containers.exec_inspect(exec_id))["DetachKeys"] == "ctrl-p"


AUTO_REMOVE = {"AutoRemove": True, "NetworkMode": "none"}
RUN = {"Config": {"Image": "busybox", "Cmd": ["true"], "HostConfig": AUTO_REMOVE}}


def rows(world, table="containers"):
    return world.database.run_blocking(lambda it: it.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@service_test
async def test_a_short_run_that_is_removed_writes_no_row(world):
    world.runtime.auto_exit = 5
    calls = []
    run = world.database.run
    world.database.run = lambda *args, **options: calls.append(args) or run(*args, **options)
    answer = await world.containers.run({**RUN, "Wait": True}, None)
    assert answer["StatusCode"] == 5
    assert not calls
    assert world.runtime.requests[0].record
    world.context.sweeper.close()
    assert not world.snapshots.prepared
    assert os.listdir(world.root / "data/containers") == []


@service_test
async def test_what_only_the_start_finds_reaches_the_client(world):
    world.runtime.auto_exit = 0
    world.runtime.warnings = ["blkio weight discarded"]
    for wait in (True, False):
        answer = await world.containers.run({**RUN, "Wait": wait}, None)
        assert answer["Warnings"][-1] == "blkio weight discarded"


@service_test
async def test_a_longer_run_gets_its_row(world):
    answer = await world.containers.run(RUN, None)
    assert rows(world) == 0
    while not world.context.find(answer["Id"]).stored:
        await asyncio.sleep(0.01)
    assert rows(world) == 1


@service_test
async def test_a_restart_writes_the_row_of_an_rm_container_as_such(world):
    answer = await world.containers.run(RUN, None)
    await world.containers.restart(answer["Id"])
    await world.reopen()
    (container,) = await world.database.run(repository.load_all)
    assert container.spec.host_config.auto_remove


@service_test
async def test_a_run_without_row_is_found_by_its_record(world):
    answer = await world.containers.run({**RUN, "Name": "found"}, None)
    run_dir = world.root / f"run/containers/{answer['Id']}/1"
    run_dir.mkdir(parents=True)
    records.write(str(run_dir), world.runtime.requests[0].record)
    (run_dir.parent / "2").mkdir()
    records.write(str(run_dir.parent / "2"), b"cut sho")
    await world.reopen()
    world.database.run_blocking(lambda it: records.adopt(it, str(world.root / "run")))
    world.runtime.recovered[answer["Id"]] = MonitorState(run=1, pid=99, started_ns=5)
    await world.containers.recover()
    assert (await world.containers.inspect("found", False))["State"]["Pid"] == 99
    world.runtime.finish(answer["Id"], 0)
    await (await world.containers.wait("found", "removed"))
    assert rows(world) == 0
