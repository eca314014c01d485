"""A disk that answers with EIO: whoever needs it is told so, with the file; nothing is damaged, and on the
repaired disk everything that was promised is there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_registry import FakeRegistry
from image_clients import ImageClient, fsck, judge

from disks import PowerDisk, power_disk
from running_engine import RunningEngine, wait_for

SIZE = 128 << 20
# ext4 ends all writing once its journal could not be written.
WORDS = re.compile("input/output error|read-only file system")


class Failing:
    """An engine on a disk that can fail."""

    def __init__(self, engine: RunningEngine, disk: PowerDisk, registry: FakeRegistry) -> None:
        self.engine, self.disk = engine, disk
        engine.data_root = str(disk.directory / "data")
        self.child = engine.start()
        self.client = ImageClient(engine, registry, "failing", 0)

    def repair(self) -> None:
        """Another engine on the disk, which works again."""
        self.disk.fail("nothing")
        self.child.terminate()
        self.child.wait(60)
        self.disk.mount_again()
        self.child = self.engine.start()

    def check(self) -> None:
        """Everything that was answered is there, and nothing is damaged (an orphan is none)."""
        wait_for("an empty trash", lambda: not os.listdir(f"{self.engine.data_root}/trash"))
        assert [it for it in fsck(self.engine) if not it.endswith("no row names it")] == []
        assert judge(self.engine, self.client.known) == []

    def refused(self) -> list[str]:
        """What was refused since the last look; each tells of the disk and names a file on it."""
        told, self.client.refusals = self.client.refusals, []
        for refusal in told:
            assert WORDS.search(refusal), refusal
            assert self.engine.data_root in refusal, refusal
        return told


@pytest.fixture
def failing(engine: RunningEngine, tmp_path: Path) -> Iterator[Failing]:
    registry = FakeRegistry()
    (tmp_path / "failing").mkdir()
    try:
        with power_disk(tmp_path / "failing", SIZE) as disk:
            yield Failing(engine, disk, registry)
            disk.fail("nothing")
            engine.close()
    finally:
        registry.close()


def test_writes_fail(failing: Failing) -> None:
    client = failing.client
    client.import_()
    client.load()
    failing.disk.fail("writes")
    for make in (client.import_, client.load, client.pull, client.tag, client.import_):
        make()
    body = {"Image": "host", "Cmd": ["true"]}
    assert client.ask("POST", "/containers/create", body)[0] == 500
    assert len(failing.refused()) >= 5
    assert failing.engine.call("GET", "/_ping") == b"OK"
    assert judge(failing.engine, client.known) == []
    failing.repair()
    failing.check()
    client.import_()
    client.pull()
    assert client.refusals == []
    failing.check()


def test_reads_fail(failing: Failing) -> None:
    client = failing.client
    client.import_()
    client.load()
    failing.repair()  # nothing of it is in memory
    failing.disk.fail("reads")
    for name in sorted(client.known):
        client.ask("GET", f"/images/{name}/get")
    failing.disk.fail("nothing")
    assert failing.refused()
    failing.check()
