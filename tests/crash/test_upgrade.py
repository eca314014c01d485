"""Engines of two builds, one after the other, on the same directories: containers notice nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from running_engine import SOURCE, RunningEngine, engine_in, gone, wait_for

UNTIL_TOLD = ("sh", "-c", "read line < /dev/zero")
CHECK = {"Test": ["CMD", "true"], "Interval": 200_000_000}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[RunningEngine]:
    yield from engine_in(tmp_path)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The same sources as another build, which is told by the times of files."""
    copy = tmp_path / "older"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    os.utime(copy / "onggi/version.py", (0, 0))
    return copy


def create(engine: RunningEngine, *command: str, **config: Any) -> str:
    body = {"Image": "host", "Cmd": list(command), "HostConfig": {"NetworkMode": "none"}, **config}
    container: str = engine.call("POST", "/containers/create", body, 201)["Id"]
    return container


def start(engine: RunningEngine, container: str) -> None:
    engine.call("POST", f"/containers/{container}/start", expect=204)


def code(engine: RunningEngine, container: str) -> int:
    """The exit code, when it has ended."""
    answer: int = engine.call("POST", f"/containers/{container}/wait")["StatusCode"]
    return answer


def build(engine: RunningEngine) -> str:
    """The build of the engine that serves."""
    commit: str = engine.call("GET", "/version")["GitCommit"]
    return commit


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_an_engine_of_another_build_goes_on(engine: RunningEngine, older: Path, end: str) -> None:
    """Also with starts of what waits for one: the launcher that kept it ready is of the build before."""
    new, engine.source = engine.source, older
    first = engine.start()
    before = build(engine)
    running, checked = engine.run(*UNTIL_TOLD), create(engine, *UNTIL_TOLD, Healthcheck=CHECK)
    start(engine, checked)
    waiting = [create(engine, "sh", "-c", f"exit {number}") for number in (3, 4, 5)]
    pids = {container: engine.state(container)["Pid"] for container in (running, checked)}
    launchers = set(engine.pids("/monitors"))
    getattr(first, end)()
    first.wait(60)

    engine.source = new
    engine.start()
    assert build(engine) != before
    assert {container: engine.state(container)["Pid"] for container in pids} == pids
    for container in waiting:
        start(engine, container)
    assert [code(engine, container) for container in waiting] == [3, 4, 5]
    wait_for("a check", lambda: engine.state(checked)["Health"]["Status"] == "healthy")
    body = {"Container": running, "Config": {"Cmd": ["sh", "-c", "exit 9"]}, "Wait": True}
    assert engine.call("POST", "/onggi/v1/exec", body)["ExitCode"] == 9
    for container in pids:
        engine.call("POST", f"/containers/{container}/kill", expect=204)
        assert code(engine, container) == 137
    assert launchers
    wait_for("the end of what the build before left", lambda: all(map(gone, launchers)))
