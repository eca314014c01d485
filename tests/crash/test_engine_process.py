"""The engine as a process: starts that race, ends, deaths; containers notice none of them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from consistency import comm, parent

from running_engine import COMMAND, RunningEngine, engine_in, gone, kill, wait_for

COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[RunningEngine]:
    yield from engine_in(tmp_path)


def launcher_of(engine: RunningEngine) -> int:
    """The launcher's process: it lives among the monitors, and is no monitor, nor a fork that becomes one."""
    pids = [pid for pid in engine.pids("/monitors") if comm(pid) == "onggi-launcher" and not gone(pid)]
    return next((pid for pid in pids if parent(pid) not in pids), 0)


def test_sixteen_starters_make_one_engine(engine: RunningEngine) -> None:
    starters = [engine.start("--on-demand", wait=False) for _ in range(16)]
    wait_for("fifteen losers", lambda: sum(child.poll() is not None for child in starters) == 15)
    wait_for("the winner", engine.serves)
    assert sorted(child.returncode for child in starters if child.poll() is not None) == [0] * 15
    winner = next(child for child in starters if child.poll() is None)
    assert engine.pid() == winner.pid
    assert engine.call("GET", "/info")["Containers"] == 0


def test_an_idle_engine_ends_and_leaves_nothing_running(engine: RunningEngine) -> None:
    child = engine.start("--on-demand", "--idle-timeout", "1")
    assert child.wait(60) == 0
    wait_for("the launcher's end", lambda: not engine.pids())
    assert not Path(engine.socket).exists()
    assert not Path(engine.exec_root, "onggid.json").exists()


def test_a_container_keeps_an_engine_alive_until_it_ends(engine: RunningEngine) -> None:
    first = engine.start()  # it has all the time of the world until there is a container
    container = engine.run("sh", "-c", "read line < /dev/zero")
    first.terminate()
    assert first.wait(60) == 0
    child = engine.start("--on-demand", "--idle-timeout", "1")
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(3)
    engine.call("POST", f"/containers/{container}/kill")
    assert child.wait(60) == 0


def test_sigterm_ends_the_engine_and_no_container(engine: RunningEngine) -> None:
    child = engine.start()
    container = engine.run("sh", "-c", COUNT)
    before = engine.state(container)
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 0
    assert not gone(before["Pid"])
    engine.start()
    assert engine.state(container)["Pid"] == before["Pid"]
    assert engine.state(container)["StartedAt"] == before["StartedAt"]


def test_a_killed_engine_on_demand_is_started_again(engine: RunningEngine) -> None:
    engine.start("--on-demand")
    container = engine.run("sh", "-c", COUNT)
    first, pid = engine.pid(), engine.state(container)["Pid"]
    kill(first)
    wait_for("the next engine", lambda: engine.pid() != first and engine.serves())
    assert engine.state(container)["Pid"] == pid
    stamp = engine.call("GET", f"/containers/{container}/logs?stdout=1&tail=1")
    wait_for(
        "more output", lambda: engine.call("GET", f"/containers/{container}/logs?stdout=1&tail=1") != stamp
    )


def test_a_killed_foreground_engine_belongs_to_its_supervisor(engine: RunningEngine) -> None:
    child = engine.start()
    container = engine.run("sh", "-c", COUNT)
    pid = engine.state(container)["Pid"]
    child.kill()
    child.wait(60)
    assert not Path(engine.exec_root, "onggid.json").exists()
    engine.start()
    assert engine.state(container)["Pid"] == pid


def test_a_killed_launcher_is_replaced(engine: RunningEngine) -> None:
    engine.start()
    container = engine.run("sh", "-c", COUNT)
    pid, launcher = engine.state(container)["Pid"], wait_for("a launcher", lambda: launcher_of(engine))
    kill(launcher)
    wait_for("the next launcher", lambda: launcher_of(engine) not in (0, launcher))
    assert engine.state(container)["Pid"] == pid
    other = engine.run("true")
    assert engine.call("POST", f"/containers/{other}/wait")["StatusCode"] == 0
    engine.call("POST", f"/containers/{container}/kill")
    assert engine.call("POST", f"/containers/{container}/wait")["StatusCode"] == 137


def test_engine_and_launcher_killed_together(engine: RunningEngine) -> None:
    child = engine.start()
    container = engine.run("sh", "-c", COUNT)
    pid = engine.state(container)["Pid"]
    launcher = launcher_of(engine)
    child.kill()
    child.wait(60)
    if not gone(launcher):
        kill(launcher)
    engine.start()
    assert engine.state(container)["Pid"] == pid
    engine.call("DELETE", f"/containers/{container}?force=1", expect=204)
    assert engine.call("GET", "/containers/json?all=1") == []


def test_after_a_reboot_containers_are_exited_255(engine: RunningEngine) -> None:
    child = engine.start()
    container = engine.run("sleep", "1000")
    child.kill()
    child.wait(60)
    for pid in engine.pids():
        kill(pid)
    Path(engine.exec_root, "containers", "removed-before-the-boot", "1").mkdir(parents=True)
    Path(engine.exec_root, "boot_id").write_text("another boot\n")
    engine.start()
    state = engine.state(container)
    assert (state["Status"], state["ExitCode"], state["Running"]) == ("exited", 255, False)
    assert not list(Path(engine.exec_root, "containers").iterdir())


def test_one_data_root_has_one_engine(engine: RunningEngine, tmp_path: Path) -> None:
    engine.start()
    again = subprocess.run([*COMMAND, *engine.flags], capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 1
    assert "already uses" in again.stderr
    other = [*engine.flags, "--exec-root", str(tmp_path / "other")]
    again = subprocess.run([*COMMAND, *other], capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, f"already uses {engine.data_root}" in again.stderr) == (1, True)


def test_a_socket_that_somebody_serves_is_not_taken(engine: RunningEngine, tmp_path: Path) -> None:
    engine.start("-H", f"unix://{tmp_path}/public.sock")
    second = RunningEngine(tmp_path / "second")
    (tmp_path / "second").mkdir()
    try:
        words = [*COMMAND, *second.flags, "-H", f"unix://{tmp_path}/public.sock"]
        result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    finally:
        second.close()
    assert result.returncode == 1
    assert "is already served by another engine" in result.stderr
    engine.socket = f"{tmp_path}/public.sock"
    assert engine.serves()


def test_an_exec_root_may_have_a_long_path(tmp_path: Path) -> None:
    root = tmp_path / ("x" * (200 - len(str(tmp_path)) - 1))
    root.mkdir()
    for engine in engine_in(root):
        engine.exec_root += "/" + "y" * 40
        engine.socket = f"{engine.exec_root}/onggi.sock"
        assert len(engine.exec_root) > 200
        engine.start()
        container = engine.run("echo", "far away")
        assert engine.call("POST", f"/containers/{container}/wait")["StatusCode"] == 0
        assert b"far away" in engine.call("GET", f"/containers/{container}/logs?stdout=1")


def test_detach_prints_how_to_reach_the_engine(engine: RunningEngine) -> None:
    words = [*COMMAND, *engine.flags, "--detach"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == f"export DOCKER_HOST=unix://{engine.socket}\n"
    assert engine.serves()
    words = [*COMMAND, *engine.flags, "-d"]
    again = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, "already uses" in again.stderr) == (1, True)
