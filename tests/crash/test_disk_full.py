"""A full disk: whatever was being written, the answer says so, nothing is damaged, and with room it works."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_registry import FakeRegistry
from image_clients import ImageClient, fsck, judge

from disks import loop_disk
from running_engine import RunningEngine, wait_for

SIZE, STEP, STEPS = 64 << 20, 96 << 10, 30
WORDS = "no space left on device"


class Full:
    """An engine on a small disk, and what takes the room of it."""

    def __init__(self, engine: RunningEngine, directory: Path, registry: FakeRegistry) -> None:
        self.engine, self.directory, self.ballast = engine, directory, directory / "ballast"
        engine.data_root = str(directory / "data")
        self.client = ImageClient(engine, registry, "full", 0)

    def relieve(self) -> None:
        """Give the room back; ext4 hands blocks out again once the transaction that freed them is written."""
        self.ballast.unlink(missing_ok=True)
        os.sync()

    def leave(self, free: int) -> None:
        """Fill the disk but for so many bytes."""
        self.relieve()
        disk = os.statvfs(self.directory)
        fd = os.open(self.ballast, os.O_CREAT | os.O_WRONLY)
        try:
            with contextlib.suppress(OSError):  # what ext4 needs for itself is less than we asked for
                os.posix_fallocate(fd, 0, max(4096, disk.f_bfree * disk.f_frsize - free))
        finally:
            os.close(fd)

    def check(self) -> None:
        """With room again: everything that was answered is there, and nothing is damaged.

        A blob whose row found no room is an orphan until the next start: harmless, and named by fsck. What
        could not be collected while there was no room is collected soon.
        """
        self.relieve()
        wait_for("an empty trash", lambda: not os.listdir(f"{self.engine.data_root}/trash"))
        wait_for("a clean store", lambda: all(it.endswith("no row names it") for it in fsck(self.engine)))
        assert judge(self.engine, self.client.known) == []


@pytest.fixture
def full(engine: RunningEngine, tmp_path: Path) -> Iterator[Full]:
    registry = FakeRegistry()
    (tmp_path / "disk").mkdir()
    try:
        with loop_disk(tmp_path / "disk", SIZE) as disk:
            yield Full(engine, disk.directory, registry)
            engine.close()
    finally:
        registry.close()


@pytest.mark.parametrize("what", ["import_", "load", "pull", "tag", "remove"])
def test_every_write_may_be_the_one(full: Full, what: str) -> None:
    """The step that asks for room is out of force: writes themselves meet the full disk."""
    full.engine.start(env={"ONGGI_FAILPOINT": "store.space=skip"})
    full.client.import_()
    for number in range(STEPS):
        if what in ("tag", "remove"):
            full.client.import_()
        full.leave(number * STEP // (8 if what in ("tag", "remove") else 1))
        getattr(full.client, what)()
        full.relieve()
        if number % 10 == 9:
            full.check()
            full.engine.call("POST", "/images/prune")
    told = full.client.refusals
    assert [refusal for refusal in told if WORDS not in refusal] == []
    assert what in ("tag", "remove") or told  # a row or two often finds room in what the journal holds


def test_what_makes_room_is_done_on_a_full_disk(full: Full) -> None:
    """Rows are written until the disk has no room for one more; then all goes that can be told to go."""
    full.engine.start()
    for number in range(3):
        full.client.import_()
        body = {"Image": full.client.existing()[-1], "Cmd": ["true"]}
        full.engine.call("POST", f"/containers/create?name=c{number}", body)
    full.engine.call("POST", "/volumes/create", {"Name": "data"})
    full.leave(0)
    while not full.client.refusals:
        full.client.tag()
    assert WORDS in full.client.refusals.pop()
    for path in ("containers/c0", "containers/c1?force=1", "containers/c2?v=1", "volumes/data"):
        full.client.ask("DELETE", f"/{path}")
    while full.client.existing() and not full.client.refusals:
        full.client.remove()
    full.client.prune()
    assert full.client.refusals == []
    full.check()


def test_room_is_asked_for_first(full: Full) -> None:
    full.engine.start()
    full.client.import_()
    full.leave(2 << 20)
    full.client.pull()
    full.client.import_()
    told = full.client.refusals
    assert len(told) == 2
    assert all(WORDS in refusal and "may be taken" in refusal for refusal in told), told
    full.check()
    full.client.pull()
    assert full.client.refusals == told
    full.check()
