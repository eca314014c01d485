"""The engine dies at a named moment of a build: the next build has the finished steps, and nothing leaks. The
power is cut behind a build: what was promised is there, and what was not is whole or not there at all.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from consistency import Consistency
from image_clients import Known, digest, fsck, judge

from disks import PowerDisk, mounted, power_disk
from engines import busybox_tar
from running_engine import RunningEngine, engine_in

DEAD = (http.client.HTTPException, OSError)
STEPS = "COPY a /a\nRUN --network=none echo {marker} > /b\nWORKDIR /w\nRUN --network=none cat /a /b > c\n"


def post(engine: RunningEngine, path: str, data: bytes, header: object = None) -> str:
    connection = engine.connection()
    with contextlib.closing(connection):
        own = base64.urlsafe_b64encode(json.dumps(header or {}).encode()).decode()
        connection.request("POST", path, data, {"X-Onggi-Build": own})
        return connection.getresponse().read().decode()


def build(engine: RunningEngine, marker: str, steps: str = STEPS, **header: object) -> str:
    """What a build of some steps tells."""
    return post(engine, "/build?t=made", context(marker, steps), header)


def context(marker: str, steps: str) -> bytes:
    """A Dockerfile of some steps and the file ``a``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in (("Dockerfile", "FROM base\n" + steps.format(marker=marker)), ("a", "file\n")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("point", "count"),
    [
        ("build.layer.before_row", 0),
        ("store.layer.before_commit", 0),
        ("build.step.before_row", 0),
        ("build.step.after_row", 1),
        ("build.image.before_row", 0),
        ("store.settle.before_commit", 4),
        ("containers.create.after_row", 1),
        ("containers.start.before_answer", 1),
    ],
)
def test_a_build_is_killed(engine: RunningEngine, consistent: Consistency, point: str, count: int) -> None:
    first = engine.start()
    post(engine, "/images/create?fromSrc=-&repo=base", busybox_tar())
    first.kill()
    first.wait(60)
    child = engine.start(env={"ONGGI_FAILPOINT": point})
    with contextlib.suppress(*DEAD):
        build(engine, "one")
    assert child.wait(60) == -9, f"{point} was not reached"
    engine.start()
    assert engine.call("GET", "/containers/json?all=1") == []
    left = Path(engine.data_root, "build")
    assert [it.name for it in left.iterdir() if it.name != "caches"] == []
    told = build(engine, "one")
    assert "Successfully tagged made:latest" in told
    assert told.count("Using cache") == count
    assert build(engine, "one").count("Using cache") == 4
    engine.call("POST", "/build/prune")
    engine.call("DELETE", "/images/made")


MOUNT = "RUN --network=none --mount=type=cache,target=/c echo {marker} | tee /c/x\n"


@pytest.mark.parametrize(
    ("point", "left"),
    [("build.prune.before_commit", 2), ("store.gc.after_commit", 1), ("build.prune.aside", 0)],
)
def test_a_prune_is_killed(engine: RunningEngine, consistent: Consistency, point: str, left: int) -> None:
    first = engine.start()
    post(engine, "/images/create?fromSrc=-&repo=base", busybox_tar())
    assert "Successfully tagged" in build(engine, "one", MOUNT)
    engine.call("DELETE", "/images/made")
    first.kill()
    first.wait(60)
    child = engine.start(env={"ONGGI_FAILPOINT": point})
    with contextlib.suppress(*DEAD):
        post(engine, "/build/prune?all=1", b"")
    assert child.wait(60) == -9, f"{point} was not reached"
    engine.start()
    assert len(engine.call("GET", "/system/df")["BuildCache"]) == left
    caches = Path(engine.data_root, "build/caches")
    assert len(list(caches.iterdir())) == min(left, 1)
    assert build(engine, "one", MOUNT).count("Using cache") == (left == 2)
    engine.call("POST", "/build/prune?all=1")
    assert list(caches.iterdir()) == []
    engine.call("DELETE", "/images/made")


@pytest.mark.parametrize("point", ["build.export.before_manifest", "build.import.layer"])
def test_a_shared_cache_is_written_or_read(
    engine: RunningEngine, consistent: Consistency, tmp_path: Path, point: str
) -> None:
    cache = {"Type": "local", "Path": f"{tmp_path}/cache"}
    first = engine.start()
    post(engine, "/images/create?fromSrc=-&repo=base", busybox_tar())
    if "import" in point:
        assert "to the cache" in build(engine, "one", CacheTo=[cache])
        engine.call("DELETE", "/images/made")
        engine.call("POST", "/build/prune?all=1")
    first.kill()
    first.wait(60)
    child = engine.start(env={"ONGGI_FAILPOINT": point})
    with contextlib.suppress(*DEAD):
        build(engine, "one", CacheTo=[cache], CacheFrom=[cache])
    assert child.wait(60) == -9, f"{point} was not reached"
    engine.start()
    assert "Wrote 2 steps" in build(engine, "one", CacheTo=[cache])
    engine.call("DELETE", "/images/made")
    engine.call("POST", "/build/prune?all=1")
    assert build(engine, "one", CacheFrom=[cache]).count("Using cache") == 2
    engine.call("DELETE", "/images/made")
    engine.call("POST", "/build/prune?all=1")


def test_a_cache_mount_comes_from_a_shared_cache(
    engine: RunningEngine, consistent: Consistency, tmp_path: Path
) -> None:
    cache = {"Type": "local", "Path": f"{tmp_path}/cache"}
    steps = "RUN --network=none --mount=type=cache,target=/c cat /c/word; echo {marker} > /c/word\n"
    first = engine.start()
    post(engine, "/images/create?fromSrc=-&repo=base", busybox_tar())
    build(engine, "one", steps, CacheTo=[cache | {"Mounts": True}])
    engine.call("DELETE", "/images/made")
    engine.call("POST", "/build/prune?all=1")
    first.kill()
    first.wait(60)
    child = engine.start(env={"ONGGI_FAILPOINT": "build.carried.unpacked"})
    with contextlib.suppress(*DEAD):
        build(engine, "two", steps, CacheFrom=[cache])
    assert child.wait(60) == -9, "the failpoint was not reached"
    engine.start()
    caches = Path(engine.data_root, "build/caches")
    assert not list(caches.glob("*/fs"))
    assert "one\\n" in build(engine, "three", steps, CacheFrom=[cache])
    engine.call("DELETE", "/images/made")
    engine.call("POST", "/build/prune?all=1")
    assert list(caches.iterdir()) == []


SIZE = 256 << 20
COPIES = "COPY a /one\nCOPY a /two\n"
ENDLESS = "RUN --network=none echo begun && sleep 600\n"


@contextlib.contextmanager
def on_disk(engine: RunningEngine, tmp_path: Path, failpoint: str) -> Iterator[PowerDisk]:
    """An engine with an image, on a disk whose power can be cut."""
    with power_disk(tmp_path, SIZE) as disk:
        engine.data_root = str(disk.directory / "data")
        engine.start(env={"ONGGI_FAILPOINT": failpoint})
        post(engine, "/images/create?fromSrc=-&repo=base", busybox_tar())
        try:
            yield disk
        finally:
            engine.close()


def cut(
    engine: RunningEngine, disk: PowerDisk, root: Path, promised: dict[str, Known], failpoint: str = ""
) -> list[str]:
    """What is wrong, behind a cut, with the store or else with what was promised."""
    fd = os.open(f"{engine.data_root}/meta.db-wal", os.O_RDONLY | os.O_CLOEXEC)
    os.fsync(fd)  # as the kernel may at any time
    os.close(fd)
    disk.cut(root / "image", "1")
    for name in ("after", "engine"):
        (root / name).mkdir()
    with mounted(root / "image", root / "after") as there:
        for other in engine_in(root / "engine"):
            other.data_root = str(there.directory / "data")
            child = other.start(env={"ONGGI_FAILPOINT": failpoint})
            wrong = fsck(other) or judge(other, promised)
            child.terminate()
            child.wait(60)
    return wrong


def known(files: dict[str, bytes]) -> Known:
    """An image that exists, with these files."""
    found = Known()
    found.exists, found.files = True, {path: digest(data) for path, data in files.items()}
    return found


@pytest.mark.parametrize("step", ["", "store.sync.tree"])
def test_a_finished_build_is_there(engine: RunningEngine, tmp_path: Path, step: str) -> None:
    """And the proof that without a sync it would not be."""
    with on_disk(engine, tmp_path, f"{step}=skip") as disk:
        assert "Successfully tagged" in build(engine, "one", COPIES)
        wrong = cut(engine, disk, tmp_path, {"made:latest": known({"one": b"file\n"})})
    assert (wrong == []) == (not step), wrong


@pytest.mark.parametrize("step", ["", "store.unsettled.drop"])
def test_steps_of_a_build_in_progress_are_no_damage(engine: RunningEngine, tmp_path: Path, step: str) -> None:
    """And the proof that they would be if they were not dropped."""
    with on_disk(engine, tmp_path, "") as disk, contextlib.closing(engine.connection()) as connection:
        connection.request("POST", "/build?t=made", context("one", COPIES + ENDLESS))
        response = connection.getresponse()
        while b"begun\\n" not in response.readline():
            assert not response.closed
        wrong = cut(engine, disk, tmp_path, {}, f"{step}=skip")
    assert (wrong == []) == (not step), wrong
