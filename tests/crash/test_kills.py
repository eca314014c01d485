"""SIGKILL to engine, launcher or monitor while containers run, print, and have clients attached."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from consistency import Consistency, comm, parent
from hijack import Stream

from engines import ONGGI
from onggi.kernel import cgroups
from onggi.kernel.cgroups import Group
from running_engine import RunningEngine, gone, kill, wait_for

LINES = 30_000
# More than every buffer on the way holds: a client that does not read holds the program in the middle.
COUNTER = f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); printf '%0100d\\n' $i; done"
COUNTED = b"".join(b"%0100d\n" % number for number in range(1, LINES + 1))
DEAF = "trap '' TERM INT HUP QUIT; while :; do sleep 1000; done"


def create(engine: RunningEngine, *command: str, **body: Any) -> str:
    host = {"NetworkMode": "none", **body.pop("HostConfig", {})}
    request = {"Image": "host", "Cmd": list(command), "HostConfig": host, **body}
    container: str = engine.call("POST", "/containers/create", request, 201)["Id"]
    return container


def begin(engine: RunningEngine, container: str) -> None:
    engine.call("POST", f"/containers/{container}/start", expect=204)


def attach(engine: RunningEngine, container: str) -> Stream:
    return Stream(engine, f"/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1")


def execute(engine: RunningEngine, container: str, *command: str) -> tuple[str, Stream]:
    body = {"Cmd": list(command), "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
    exec_id: str = engine.call("POST", f"/containers/{container}/exec", body, 201)["Id"]
    return exec_id, Stream(engine, f"/exec/{exec_id}/start", {"Detach": False, "Tty": False})


def with_a_spares_id(engine: RunningEngine, create: Callable[[], str]) -> str:
    """The first container made whose id a spare waits for."""
    waiting = Path(engine.exec_root, "waiting")
    found: str = wait_for(
        "a container with a spare's id", lambda: made if (made := create()) in os.listdir(waiting) else None
    )
    return found


@contextlib.contextmanager
def held(path: str) -> Iterator[Callable[[], bool]]:
    """Hold up everybody who opens a file; yields whether somebody wants to."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    try:
        yield lambda: fcntl.fcntl(fd, fcntl.F_GETLEASE) != fcntl.F_WRLCK
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, before)


def named(engine: RunningEngine, name: str) -> list[int]:
    return [pid for pid in engine.pids("/monitors") if comm(pid) == name and not gone(pid)]


def launcher_of(engine: RunningEngine) -> int:
    """The launcher's pid; forks of it bear its name for a moment."""

    def found() -> list[int]:
        pids = named(engine, "onggi-launcher")
        return [pid for pid in pids if parent(pid) not in pids]

    return int(wait_for("a launcher", found)[0])


def monitor_of(engine: RunningEngine, container: str) -> int:
    """The first ancestor of the container's process that is a monitor."""
    pid = parent(engine.state(container)["Pid"])
    while comm(pid) != "onggi-monitor":
        assert pid, f"no monitor is above the process of {container}"
        pid = parent(pid)
    return pid


def kill_engine(engine: RunningEngine) -> None:
    kill(engine.pid())


def comes_back(engine: RunningEngine, mode: str, before: int) -> None:
    """A foreground engine is started by its supervisor, one on demand by the launcher."""
    if mode == "foreground":
        assert not engine.serves()
        engine.start()
    else:
        wait_for("the next engine", lambda: engine.pid() != before and engine.serves())


def flags_of(mode: str) -> list[str]:
    return ["--on-demand"] if mode == "on demand" else []


both_modes = pytest.mark.parametrize("mode", ["foreground", "on demand"])


def test_a_failed_start_leaves_no_run_directory(engine: RunningEngine, consistent: Consistency) -> None:
    engine.start()
    container = create(engine, "no-such-program")
    engine.call("POST", f"/containers/{container}/start", expect=400)
    consistent.check()


def test_killed_spares_leave_nothing_and_are_replaced(engine: RunningEngine, consistent: Consistency) -> None:
    engine.start()
    waiting = Path(engine.exec_root, "waiting")
    before = wait_for("two spares", lambda: found if len(found := set(os.listdir(waiting))) == 2 else None)
    wait_for("their monitors", lambda: len(named(engine, "onggi-monitor")) >= 2)
    for pid in named(engine, "onggi-monitor"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for("two others", lambda: len(found := set(os.listdir(waiting))) == 2 and not found & before)
    begin(engine, create(engine, "true"))


def test_a_spare_whose_first_process_is_dead_starts_its_container_all_the_same(
    engine: RunningEngine, consistent: Consistency
) -> None:
    """As after a kill of the engine in the middle of a start: the next one empties the container's group."""
    engine.start()
    container = with_a_spares_id(engine, lambda: create(engine, "sleep", "1000"))
    group = Group(cgroups.detect(), f"{engine.group}/c/{container}")
    wait_for("its first process", group.pids)
    group.kill()
    wait_for("its end", lambda: not group.pids())
    engine.call("POST", f"/containers/{container}/start", expect=204)
    assert engine.state(container)["Running"]


def test_a_first_process_that_fails_before_its_monitor_is_ready_is_heard(
    engine: RunningEngine, consistent: Consistency
) -> None:
    """A lease on the log holds up the monitor, which opens it; the first process has its plan by then."""
    engine.start()
    options = {"type": "tmpfs", "device": "tmpfs", "o": "no-such-option"}
    volume = {"Type": "volume", "Target": "/v", "VolumeOptions": {"DriverConfig": {"Options": options}}}
    wish = {"HostConfig": {"Mounts": [volume], "OomScoreAdj": 900}}
    container = with_a_spares_id(engine, lambda: create(engine, "true", **wish))
    group = Group(cgroups.detect(), f"{engine.group}/c/{container}")
    wait_for("its first process", group.pids)
    path = engine.call("GET", f"/containers/{container}/json")["LogPath"]
    with ThreadPoolExecutor() as pool, held(path) as wanted:
        start = pool.submit(engine.call, "POST", f"/containers/{container}/start", expect=400)
        wait_for("the monitor at its log", wanted)
        wait_for("the end of the first process", lambda: not group.pids())
    assert "failed to mount local volume" in start.result()["message"]


def test_what_a_dead_spare_left_goes_at_the_next_start(
    engine: RunningEngine, consistent: Consistency
) -> None:
    engine.start()
    left = "ab" * 32
    group = Group(cgroups.detect(), f"{engine.group}/c/{left}")
    group.create()
    wait_for("the first spare", lambda: os.path.isdir(f"{engine.exec_root}/waiting"))
    Path(engine.exec_root, "waiting", left).touch()
    kill_engine(engine)
    engine.start()
    assert not group.exists()
    assert left not in os.listdir(f"{engine.exec_root}/waiting")


def test_an_adopted_rm_container_can_be_restarted(engine: RunningEngine, consistent: Consistency) -> None:
    """Its root was mounted volatile by the last engine, which the kernel mounts no second time."""
    engine.start()
    program = "[ -e /mark ] && echo again; : >/mark; exec sleep 1000000"
    container = create(engine, "sh", "-c", program, HostConfig={"AutoRemove": True})
    begin(engine, container)
    kill_engine(engine)
    engine.start()
    engine.call("POST", f"/containers/{container}/restart?t=0", expect=204)
    wait_for("what the first run left", lambda: b"again" in logs(engine, container))
    engine.call("DELETE", f"/containers/{container}?force=1", expect=204)


@both_modes
def test_streams_terminals_and_execs_outlive_the_engine(
    engine: RunningEngine, consistent: Consistency, mode: str
) -> None:
    engine.start(*flags_of(mode))
    counter = create(engine, "sh", "-c", COUNTER, HostConfig={"LogConfig": {"Config": {"max-size": "-1"}}})
    output = attach(engine, counter)
    begin(engine, counter)
    first = output.frame()
    shell = create(engine, "sh", Tty=True, OpenStdin=True)
    terminal = attach(engine, shell)
    begin(engine, shell)
    terminal.send(b"stty -echo; echo re''ady\n")
    terminal.until(b"ready")
    script = "echo begun; read word; echo got $word; exit 7"
    exec_id, exec_stream = execute(engine, shell, "sh", "-c", script)
    assert exec_stream.frame() == (1, b"begun\n")
    facts = engine.state(counter), engine.state(shell)
    before = engine.pid()

    kill_engine(engine)
    terminal.send(b"echo st''ill\n")
    assert terminal.until(b"still")
    comes_back(engine, mode, before)

    assert (engine.state(counter), engine.state(shell)) == facts
    assert engine.call("GET", f"/exec/{exec_id}/json")["Running"] is True
    exec_stream.send(b"word\n")
    assert exec_stream.output() == b"got word\n"
    found = engine.call("GET", f"/exec/{exec_id}/json")
    assert (found["Running"], found["ExitCode"]) == (False, 7)
    engine.call("POST", f"/containers/{shell}/resize?h=40&w=120")
    terminal.send(b"stty size\n")
    terminal.until(b"40 120")
    assert first is not None
    assert sha256(first[1] + output.output()).digest() == sha256(COUNTED).digest()
    assert engine.call("POST", f"/containers/{counter}/wait")["StatusCode"] == 0
    assert sha256(logs(engine, counter)).digest() == sha256(COUNTED).digest()
    terminal.send(b"exit 3\n")
    assert engine.call("POST", f"/containers/{shell}/wait")["StatusCode"] == 3


def events(engine: RunningEngine, filters: str) -> bytes:
    """Everything that happened, as lines; a future ``until`` would wait."""
    connection = engine.connection()
    with contextlib.closing(connection):
        connection.request("GET", f"/events?since=1&until={time.time() - 0.001:f}&filters={quote(filters)}")
        return connection.getresponse().read()


def logs(engine: RunningEngine, container: str) -> bytes:
    """What the log holds, without the frames' heads."""
    raw, parts, at = engine.call("GET", f"/containers/{container}/logs?stdout=1&stderr=1"), [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at + 4 : at + 8], "big")
        parts.append(raw[at + 8 : at + 8 + size])
        at += 8 + size
    return b"".join(parts)


def test_what_ended_while_no_engine_ran_is_known(engine: RunningEngine, consistent: Consistency) -> None:
    child = engine.start()
    living, ending = engine.run("sleep", "1000"), create(engine, "sh", "-c", "read x; exit 5", OpenStdin=True)
    stdin = attach(engine, ending)
    begin(engine, ending)
    passing = create(engine, "sh", "-c", "read x; exit 6", OpenStdin=True, HostConfig={"AutoRemove": True})
    passing_stdin = attach(engine, passing)
    begin(engine, passing)
    first_exec, first = execute(engine, living, "sh", "-c", "echo begun; read x; exit 4")
    second_exec, second = execute(engine, ending, "sh", "-c", "echo begun; read x; exit 9")
    assert first.frame() == second.frame() == (1, b"begun\n")

    child.kill()
    child.wait(60)
    for stream in (first, second, stdin, passing_stdin):
        stream.send(b"go\n")
        assert stream.output() == b""  # its end
    for container in (ending, passing):
        records = Path(engine.exec_root, "containers", container)
        wait_for("the record", lambda: list(records.glob("*/exit.json")))  # noqa: B023
    engine.start()

    assert engine.state(ending)["ExitCode"] == 5
    assert engine.call("GET", f"/exec/{first_exec}/json")["ExitCode"] == 4
    assert engine.call("GET", f"/exec/{second_exec}/json")["ExitCode"] == 9
    engine.call("GET", f"/containers/{passing}/json", expect=404)
    assert engine.call("POST", f"/containers/{passing}/wait?condition=removed")["StatusCode"] == 6
    deaths = [json.loads(line) for line in events(engine, '{"event":["die"]}').splitlines()]
    assert {ending, passing} <= {event["id"] for event in deaths}


def test_a_killed_launcher_harms_nobody(engine: RunningEngine, consistent: Consistency) -> None:
    engine.start()
    shell = create(engine, "sh", Tty=True, OpenStdin=True)
    terminal = attach(engine, shell)
    begin(engine, shell)
    for _ in range(3):
        launcher = launcher_of(engine)
        kill(launcher)
        # At once: the engine may not even know yet that it has no launcher.
        other = engine.run("sh", "-c", "exit 3", AutoRemove=False)
        assert engine.call("POST", f"/containers/{other}/wait")["StatusCode"] == 3
        assert launcher_of(engine) != launcher
    terminal.send(b"echo st''ill\n")
    terminal.until(b"still")
    exec_id, stream = execute(engine, shell, "sh", "-c", "exit 4")
    assert stream.output() == b""
    assert engine.call("GET", f"/exec/{exec_id}/json")["ExitCode"] == 4
    engine.call("DELETE", f"/containers/{shell}?force=1", expect=204)


@both_modes
def test_engine_and_launcher_killed_together(
    engine: RunningEngine, consistent: Consistency, mode: str
) -> None:
    child = engine.start(*flags_of(mode))
    container = engine.run("sleep", "1000")
    facts, launcher = engine.state(container), launcher_of(engine)
    # Both stopped first: neither can start the other again in between.
    for pid in (launcher, child.pid):
        os.kill(pid, signal.SIGSTOP)
    for pid in (launcher, child.pid):
        kill(pid)
    assert not engine.serves()
    engine.start(*flags_of(mode))  # the next command
    assert engine.state(container) == facts
    other = engine.run("true")
    assert engine.call("POST", f"/containers/{other}/wait")["StatusCode"] == 0
    engine.call("POST", f"/containers/{container}/kill")
    assert engine.call("POST", f"/containers/{container}/wait")["StatusCode"] == 137


def group_of(engine: RunningEngine, container: str) -> Group:
    return Group(cgroups.detect(), f"{engine.group}/c/{container}")


@pytest.mark.parametrize("pid_mode", ["", "host"])
def test_a_killed_monitor_takes_its_container_along(
    engine: RunningEngine, consistent: Consistency, pid_mode: str
) -> None:
    engine.start()
    container = create(engine, "sh", "-c", f"({DEAF}) & (setsid sh -c \"{DEAF}\") & {DEAF}",
                       HostConfig={"PidMode": pid_mode})  # fmt: skip
    begin(engine, container)
    body = {"Cmd": ["sh", "-c", f"echo begun; {DEAF}"], "AttachStdout": True, "Privileged": True}
    exec_id = engine.call("POST", f"/containers/{container}/exec", body, 201)["Id"]
    stream = Stream(engine, f"/exec/{exec_id}/start", {"Detach": False})
    assert stream.frame() == (1, b"begun\n")
    group = group_of(engine, container)
    pids = wait_for("all of them", lambda: found if len(found := group.pids()) >= 7 else None)
    wait = engine.call
    kill(monitor_of(engine, container))
    assert wait("POST", f"/containers/{container}/wait")["StatusCode"] == 137
    state = engine.state(container)
    assert (state["Status"], state["ExitCode"], state["Error"]) == ("exited", 137, "monitor lost")
    wait_for("the end of all of them", lambda: all(map(gone, pids)))
    wait_for("the end of its group", lambda: not group.exists())
    assert engine.call("GET", f"/exec/{exec_id}/json")["ExitCode"] == 137
    begin(engine, container)
    assert engine.state(container)["Running"]


def test_a_monitor_killed_while_no_engine_ran_is_noticed(
    engine: RunningEngine, consistent: Consistency
) -> None:
    child = engine.start()
    container = engine.run("sh", "-c", f"({DEAF}) & {DEAF}", PidMode="host")
    again = engine.run("sh", "-c", DEAF, RestartPolicy={"Name": "always"})
    group, monitors = group_of(engine, container), [monitor_of(engine, it) for it in (container, again)]
    child.kill()
    child.wait(60)
    for pid in monitors:
        kill(pid)
    engine.start()
    state = engine.state(container)
    assert (state["Status"], state["ExitCode"], state["Error"]) == ("exited", 137, "monitor lost")
    wait_for("the end of its group", lambda: not group.exists())
    wait_for("the next run", lambda: engine.state(again)["Status"] == "running")


def test_the_restart_policy_follows_a_lost_monitor(engine: RunningEngine, consistent: Consistency) -> None:
    engine.start()
    container = engine.run("sleep", "1000", RestartPolicy={"Name": "on-failure"})
    first = engine.state(container)["Pid"]
    kill(monitor_of(engine, container))
    wait_for("the next run", lambda: engine.state(container)["Pid"] not in (0, first))
    assert engine.call("GET", f"/containers/{container}/json")["RestartCount"] == 1


def test_an_engine_killed_between_two_runs_goes_on_restarting(
    engine: RunningEngine, consistent: Consistency
) -> None:
    engine.start("--on-demand")
    container = engine.run("false", RestartPolicy={"Name": "always"})
    wait_for("a pause of some length", lambda: restarts(engine, container) >= 3)
    before, count = engine.pid(), restarts(engine, container)
    kill_engine(engine)
    comes_back(engine, "on demand", before)
    wait_for("the next run", lambda: restarts(engine, container) > count)
    engine.call("POST", f"/containers/{container}/stop", expect=204)
    wait_for("its end", lambda: engine.state(container)["Status"] == "exited")


def restarts(engine: RunningEngine, container: str) -> int:
    return int(engine.call("GET", f"/containers/{container}/json")["RestartCount"])


def test_nothing_is_left_when_everything_is_killed(engine: RunningEngine, consistent: Consistency) -> None:
    """Also the mount table is as it was: ``consistent`` compares it."""
    child = engine.start()
    for _ in range(3):
        engine.run("sh", "-c", DEAF, Tmpfs={"/scratch": ""}, Binds=["/usr:/there:ro"])
    child.kill()
    child.wait(60)
    for pid in engine.pids("/monitors"):
        with contextlib.suppress(ProcessLookupError):  # it ended with another one
            os.kill(pid, signal.SIGKILL)
    wait_for("the end of all", lambda: not [pid for pid in engine.pids() if not gone(pid)])
    assert consistent.mounts_changed() == []
    engine.start()
    states = [entry["State"] for entry in engine.call("GET", "/containers/json?all=1")]
    assert states == ["exited"] * 3


def test_the_exit_code_of_an_exec_reaches_its_client_without_the_engine(
    engine: RunningEngine, consistent: Consistency
) -> None:
    """Its monitor says it on the client's own stream."""
    engine.start()
    container = create(engine, "sleep", "1000000")
    begin(engine, container)
    words = [*ONGGI, "-H", f"unix://{engine.socket}", "exec", "-i", container, "sh", "-c"]
    command = [*words, "echo on; read line; exit 9"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin
        assert client.stdout
        assert client.stdout.readline() == b"on\n"
        kill_engine(engine)
        client.stdin.write(b"go\n")
        client.stdin.close()
        assert client.wait(30) == 9
    engine.start()
