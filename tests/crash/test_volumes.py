"""The engine dies between two steps of a volume's life: nothing is promised twice, kept in part, or lost."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from consistency import Consistency
from test_failpoints import Killed, archive, import_image

from running_engine import RunningEngine, wait_for


@pytest.fixture
def killed(engine: RunningEngine, consistent: Consistency) -> Killed:
    return Killed(engine)


def volumes(engine: RunningEngine) -> list[str]:
    return [volume["Name"] for volume in engine.call("GET", "/volumes")["Volumes"]]


def create(engine: RunningEngine, image: str = "host", **body: Any) -> str:
    host = {"NetworkMode": "none", **body.pop("HostConfig", {})}
    body = {"Image": image, "Cmd": ["sleep", "1000"], "HostConfig": host, **body}
    container: str = engine.call("POST", "/containers/create?name=it", body, 201)["Id"]
    return container


def remove(engine: RunningEngine, name: str) -> None:
    engine.call("DELETE", f"/volumes/{name}", expect=204)


@pytest.mark.parametrize(
    ("point", "left"), [("volumes.create.before_row", []), ("volumes.create.after_row", ["data"])]
)
def test_create(killed: Killed, point: str, left: list[str]) -> None:
    killed.arm(point)
    killed.by(lambda: killed.engine.call("POST", "/volumes/create", {"Name": "data"}))
    assert volumes(killed.engine) == left
    killed.engine.call("POST", "/volumes/create", {"Name": "data"}, 201)


@pytest.mark.parametrize(
    ("point", "left"), [("volumes.remove.before_row", ["data"]), ("volumes.remove.after_row", [])]
)
def test_remove(killed: Killed, point: str, left: list[str]) -> None:
    engine = killed.engine
    killed.arm(point)
    mountpoint = engine.call("POST", "/volumes/create", {"Name": "data"}, 201)["Mountpoint"]
    Path(mountpoint, "file").write_text("content")
    killed.by(lambda: remove(engine, "data"))
    assert volumes(engine) == left
    assert Path(mountpoint, "file").exists() == bool(left)
    if not left:
        engine.call("POST", "/volumes/create", {"Name": "data"}, 201)
        assert not list(Path(mountpoint).iterdir()), "a new volume of an old name is empty"


@pytest.mark.parametrize(
    ("point", "left"),
    [
        ("containers.create.before_row", 0),
        ("volumes.create.after_row", 1),
        ("containers.create.after_row", 1),
    ],
)
def test_a_container_and_its_anonymous_volume_come_together(killed: Killed, point: str, left: int) -> None:
    engine = killed.engine
    killed.arm(point)
    killed.by(lambda: create(engine, Volumes={"/data": {}}))
    assert len(volumes(engine)) == left
    assert len(engine.call("GET", "/containers/json?all=1")) == left
    if left:
        [name] = volumes(engine)
        engine.call("DELETE", f"/volumes/{name}", expect=409)
        engine.call("POST", "/containers/it/start", expect=204)
        engine.call("DELETE", "/containers/it?force=1&v=1", expect=204)
    assert volumes(engine) == []


@pytest.mark.parametrize(
    ("point", "left"), [("containers.remove.before_row", 1), ("volumes.remove.after_row", 0)]
)
def test_they_go_together(killed: Killed, point: str, left: int) -> None:
    engine = killed.engine
    killed.arm(point)
    create(engine, Volumes={"/data": {}})
    killed.by(lambda: engine.call("DELETE", "/containers/it?v=1"))
    assert len(volumes(engine)) == left
    assert len(engine.call("GET", "/containers/json?all=1")) == left


def test_references_are_right_after_a_kill(killed: Killed) -> None:
    """Of a container that runs, and of one whose row is beside its run yet."""
    engine = killed.engine
    killed.arm("containers.start.before_answer")
    body = {"Volumes": {"/data": {}}, "HostConfig": {"Binds": ["named:/named"], "AutoRemove": True}}
    container = create(engine, **body)
    killed.by(lambda: engine.call("POST", f"/containers/{container}/start"))
    assert len(volumes(engine)) == 2
    for name in volumes(engine):
        told = engine.call("DELETE", f"/volumes/{name}", expect=409)
        assert f"volume is in use - [{container}]" in told["message"]
    engine.call("POST", f"/containers/{container}/kill", expect=204)
    wait_for("its removal", lambda: volumes(engine) == ["named"])
    remove(engine, "named")


def test_a_run_whose_rows_were_not_written_yet(killed: Killed) -> None:
    """create and start in one call, --rm: container and volumes are in the record beside the run."""
    engine = killed.engine
    killed.arm("containers.start.before_answer")
    host = {"NetworkMode": "none", "AutoRemove": True}
    config = {"Image": "host", "Cmd": ["sleep", "1000"], "HostConfig": host, "Volumes": {"/data": {}}}
    killed.by(lambda: engine.call("POST", "/onggi/v1/run", {"Config": config}))
    [container] = engine.call("GET", "/containers/json")
    [name] = volumes(engine)
    assert [mount["Name"] for mount in container["Mounts"]] == [name]
    engine.call("DELETE", f"/volumes/{name}", expect=409)
    engine.call("POST", f"/containers/{container['Id']}/kill", expect=204)
    wait_for("its removal", lambda: volumes(engine) == [])


def test_copy_up_is_whole_or_nothing(killed: Killed) -> None:
    engine = killed.engine
    killed.arm("volumes.fill.before_rename")
    import_image(engine, "filled", archive("data/file"))
    host = {"Binds": ["named:/data"]}
    killed.by(lambda: create(engine, "filled", HostConfig=host))
    content = Path(engine.call("GET", "/volumes/named")["Mountpoint"])
    assert list(content.iterdir()) == []
    create(engine, "filled", HostConfig=host)
    assert (content / "file").read_text() == "data"


def test_content_survives_a_lost_database(killed: Killed) -> None:
    """Whoever loses meta.db, or puts an old one back, keeps the volumes."""
    engine = killed.engine
    child = engine.start()
    content = engine.call("POST", "/volumes/create", {"Name": "data"}, 201)["Mountpoint"]
    Path(content, "file").write_text("dear")
    child.terminate()
    child.wait(60)
    for path in Path(engine.data_root).glob("meta.db*"):
        path.unlink()
    with contextlib.suppress(FileNotFoundError):
        Path(engine.data_root, "engine-id").unlink()
    engine.start()
    assert volumes(engine) == ["data"]
    assert Path(content, "file").read_text() == "dear"
