"""The engine dies at a named moment of an operation; the next one finds, finishes or forgets it."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from consistency import Consistency

from onggi.kernel import cgroups
from onggi.kernel.cgroups import Group
from running_engine import RunningEngine, gone, wait_for

DEAD = (http.client.HTTPException, OSError)


def archive(name: str = "file") -> bytes:
    """A root file system of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"data"))
    return buffer.getvalue()


def import_image(engine: RunningEngine, reference: str, data: bytes) -> str:
    """The new image's id."""
    connection = engine.connection()
    with contextlib.closing(connection):
        connection.request("POST", f"/images/create?fromSrc=-&repo={reference}", data)
        last = connection.getresponse().read().splitlines()[-1]
    return str(json.loads(last)["status"])


class Killed:
    """An engine that dies at one point, and the next one."""

    def __init__(self, engine: RunningEngine) -> None:
        self.engine = engine

    def arm(self, point: str) -> None:
        """Start the one that will die."""
        self.point, self.child = point, self.engine.start(env={"ONGGI_FAILPOINT": point})

    def by(self, act: Callable[[], Any]) -> None:
        """Act, see the engine die, start the next."""
        with contextlib.suppress(*DEAD):
            act()
        assert self.child.wait(60) == -9, f"{self.point} was not reached"
        self.engine.start()


@pytest.fixture
def killed(engine: RunningEngine, consistent: Consistency) -> Killed:
    return Killed(engine)


def containers(engine: RunningEngine) -> list[Any]:
    found: list[Any] = engine.call("GET", "/containers/json?all=1")
    return found


def create(engine: RunningEngine, *command: str, **host: Any) -> str:
    body = {"Image": "host", "Cmd": list(command), "HostConfig": {"NetworkMode": "none", **host}}
    container: str = engine.call("POST", "/containers/create?name=it", body, 201)["Id"]
    return container


@pytest.mark.parametrize(
    ("point", "left"), [("containers.create.before_row", 0), ("containers.create.after_row", 1)]
)
def test_create(killed: Killed, point: str, left: int) -> None:
    killed.arm(point)
    killed.by(lambda: create(killed.engine, "true"))
    assert len(containers(killed.engine)) == left
    if left:
        killed.engine.call("DELETE", "/containers/it")
    create(killed.engine, "true")  # the name is free


@pytest.mark.parametrize(
    ("point", "status"),
    [
        ("containers.start.before_launch", "exited"),
        ("containers.start.after_launch", "running"),
        ("containers.start.before_answer", "running"),
    ],
)
@pytest.mark.parametrize("automatic", [False, True])
def test_start(killed: Killed, point: str, status: str, automatic: bool) -> None:
    """``after_launch`` races with the monitor's birth: either it is found, or it never was."""
    engine = killed.engine
    killed.arm(point)
    container = create(engine, "sleep", "1000", AutoRemove=automatic)
    killed.by(lambda: engine.call("POST", f"/containers/{container}/start"))
    found = containers(engine)
    if automatic and status == "exited":
        assert found == []
        return
    if found and found[0]["State"] == "running":
        assert not gone(engine.state(container)["Pid"])
    else:
        assert point != "containers.start.before_answer"
        assert automatic or engine.state(container)["ExitCode"] == 255
        assert not Group(cgroups.detect(), f"{engine.group}/c/{container}").exists()
    if found:
        engine.call("POST", f"/containers/{container}/restart?t=0", expect=204)
        assert engine.state(container)["Running"]


def test_a_start_that_fails_behind_the_engines_back(killed: Killed) -> None:
    engine = killed.engine
    killed.arm("containers.start.after_launch")
    container = create(engine, "/no/such/program")
    killed.by(lambda: engine.call("POST", f"/containers/{container}/start"))
    state = wait_for("its end", lambda: (it := engine.state(container))["Status"] == "exited" and it)
    assert state["ExitCode"] in (127, 137, 255)


def test_exec(killed: Killed) -> None:
    engine = killed.engine
    killed.arm("containers.exec.after_launch")
    container = create(engine, "sleep", "1000")
    engine.call("POST", f"/containers/{container}/start")

    def act() -> None:
        exec_id = engine.call(
            "POST", f"/containers/{container}/exec", {"Cmd": ["sh", "-c", "echo $$ > /pid; exit 3"]}
        )
        Path(engine.root, "exec").write_text(exec_id["Id"])
        engine.call("POST", f"/exec/{exec_id['Id']}/start", {"Detach": True})

    killed.by(act)
    exec_id = Path(engine.root, "exec").read_text()
    ended = wait_for(
        "its end", lambda: not (it := engine.call("GET", f"/exec/{exec_id}/json"))["Running"] and it
    )
    assert ended["ExitCode"] == 3


def test_stop(killed: Killed) -> None:
    engine = killed.engine
    killed.arm("containers.stop.after_signal")
    policy = {"Name": "always"}
    container = create(engine, "sh", "-c", "trap '' TERM; echo; sleep 1000", RestartPolicy=policy)
    engine.call("POST", f"/containers/{container}/start")
    wait_for("the trap", lambda: engine.call("GET", f"/containers/{container}/logs?stdout=1"))
    killed.by(lambda: engine.call("POST", f"/containers/{container}/stop?t=1"))
    assert engine.state(container)["Running"]
    engine.call("POST", f"/containers/{container}/stop?t=0", expect=204)
    assert engine.state(container)["Status"] == "exited"


@pytest.mark.parametrize("point", ["containers.end.before_row", "containers.end.after_row"])
def test_end(killed: Killed, point: str) -> None:
    engine = killed.engine
    killed.arm(point)
    container = create(engine, "sh", "-c", "exit 7")
    killed.by(lambda: engine.call("POST", f"/containers/{container}/start"))
    assert engine.state(container)["ExitCode"] == 7
    assert engine.call("POST", f"/containers/{container}/wait")["StatusCode"] == 7
    deaths = [it for it in engine.events() if it["Action"] == "die"]
    assert [it["Actor"]["Attributes"]["exitCode"] for it in deaths] == ["7"]


@pytest.mark.parametrize("point", ["containers.end.before_row", "containers.restart.before_start"])
def test_restart(killed: Killed, point: str) -> None:
    engine = killed.engine
    killed.arm(point)
    container = create(
        engine, "sh", "-c", "exit 7", RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 2}
    )
    killed.by(lambda: engine.call("POST", f"/containers/{container}/start"))
    wait_for("its end", lambda: engine.state(container)["Status"] == "exited")
    assert engine.call("GET", f"/containers/{container}/json")["RestartCount"] == 2
    assert engine.state(container)["ExitCode"] == 7


@pytest.mark.parametrize(
    ("point", "left"), [("containers.remove.before_row", 1), ("containers.remove.after_row", 0)]
)
@pytest.mark.parametrize("running", [False, True])
def test_remove(killed: Killed, point: str, left: int, running: bool) -> None:
    engine = killed.engine
    killed.arm(point)
    container = create(engine, "sh", "-c", "echo > /file; sleep 1000")
    if running:
        engine.call("POST", f"/containers/{container}/start")
    killed.by(lambda: engine.call("DELETE", f"/containers/{container}?force=1"))
    # A removal that has ended the container goes on.
    assert len(containers(engine)) == (0 if running else left)
    if containers(engine):
        engine.call("DELETE", f"/containers/{container}?force=1", expect=204)


@pytest.mark.parametrize("point", ["containers.remove.before_row", "containers.remove.after_row"])
def test_automatic_removal(killed: Killed, point: str) -> None:
    engine = killed.engine
    body = {"Image": "host", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", "AutoRemove": True}}
    killed.arm(point)
    killed.by(lambda: engine.call("POST", "/onggi/v1/run", {"Config": body, "Wait": True}))
    assert containers(engine) == []


@pytest.mark.parametrize("point", ["images.import.before_blob", "images.import.before_row"])
def test_import(killed: Killed, point: str) -> None:
    engine = killed.engine
    killed.arm(point)
    killed.by(lambda: import_image(engine, "it", archive()))
    assert [image["RepoTags"] for image in engine.call("GET", "/images/json")] == [["host:latest"]]
    image = import_image(engine, "it", archive())
    assert engine.call("GET", "/images/it/json")["Id"] == image


def test_image_removal(killed: Killed) -> None:
    engine = killed.engine
    killed.arm("images.remove.after_row")
    import_image(engine, "it", archive())
    killed.by(lambda: engine.call("DELETE", "/images/it"))
    engine.call("GET", "/images/it/json", expect=404)


def test_an_engine_killed_while_it_recovers(killed: Killed) -> None:
    engine = killed.engine
    child = engine.start()
    container = create(engine, "sleep", "1000")
    engine.call("POST", f"/containers/{container}/start")
    facts = engine.state(container)
    child.kill()
    child.wait(60)
    child = engine.start(env={"ONGGI_FAILPOINT": "daemon.recovered"}, wait=False)
    assert child.wait(60) == -9
    engine.start()
    assert engine.state(container) == facts
