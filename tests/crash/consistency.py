"""What must hold of an engine at rest, whatever was killed before: nothing exists that nobody owns.

``check`` compares rows, the API's answers, directories, control groups, processes and mounts with each
other, and repeats until they agree: an engine may still be busy with an end. What disagrees at the deadline
is the failure.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onggi.kernel import cgroups
from running_engine import RunningEngine, gone

DEADLINE_S = 60.0
POOL = 2  # monitors that wait for a container, each with a first process


def mounts() -> list[str]:
    """The mount table of this namespace, which is the engine's, without the numbers that change."""
    return sorted(line.split(" ", 2)[2] for line in Path("/proc/self/mountinfo").read_text().splitlines())


class Consistency:
    """One engine's world; ``mounts`` as they were before the engine was started."""

    def __init__(self, engine: RunningEngine) -> None:
        self.engine, self.mounts = engine, mounts()
        self.data, self.run = Path(engine.data_root), Path(engine.exec_root)

    def check(self) -> None:
        """Fail with everything that does not belong, unless it goes away in time."""
        deadline = time.monotonic() + DEADLINE_S
        while found := self.problems():
            assert time.monotonic() < deadline, "\n".join(found) + "\n" + self.engine.log()[-4000:]
            time.sleep(0.05)

    def problems(self) -> list[str]:
        """What disagrees now."""
        with contextlib.suppress(FileNotFoundError, sqlite3.OperationalError):
            return [
                *self.rows(),
                *self._containers(),
                *self._processes(),
                *(f"mount: {line}" for line in self.mounts_changed()),
            ]
        return ["the engine's files change while we look"]

    def mounts_changed(self) -> list[str]:
        """Mounts made or undone. Who removes a mount point, as others on this machine may, undoes it here."""
        now, before = {*mounts()}, {*self.mounts}
        return sorted((now - before) | {line for line in before - now if os.path.lexists(line.split()[2])})

    # -- rows and files ------------------------------------------------------------------------------------

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """Rows of the engine's database."""
        connection = sqlite3.connect(f"file:{self.data}/meta.db?mode=ro", uri=True)
        try:
            return connection.execute(text).fetchall()
        finally:
            connection.close()

    def rows(self) -> Iterator[str]:
        """Every file of the data root is named by a row, and every row has its files."""
        yield from (f"database: {row[0]}" for row in self.query("PRAGMA integrity_check") if row[0] != "ok")
        containers = {row[0] for row in self.query("SELECT id FROM containers")}
        snapshots = self.query("SELECT number, kind, key FROM snapshots")
        layers = self.query("SELECT chain_id, number FROM layers")
        images = self.query("SELECT id, chain_id FROM images")
        tags = self.query("SELECT image_id FROM tags")
        yield from differ("container directories", names(self.data / "containers"), containers)
        numbers = {str(row[0]) for row in snapshots}
        yield from differ(
            "snapshot directories", names(self.data / "snapshots/overlay", numeric=True), numbers
        )
        owners = {row[2] for row in snapshots if row[1] == "container"}
        yield from (f"snapshot of no container: {key}" for key in owners - containers)
        yield from differ(
            "layers", {row[2] for row in snapshots if row[1] == "layer"}, {row[0] for row in layers}
        )
        blobs = {f"sha256:{path.name}" for path in self.data.glob("blobs/sha256/*/*")}
        rows = {row[0] for row in self.query("SELECT digest FROM blobs")}
        yield from differ("blobs", blobs, rows)
        yield from (f"image without its config: {row[0]}" for row in images if row[0] not in rows)
        above = [row for row in images if row[1]]  # what a build makes of scratch has no layer yet
        yield from (f"image without its layer: {row[0]}" for row in above if row[1] not in dict(layers))
        yield from (f"tag of no image: {row[0]}" for row in tags if row[0] not in dict(images))
        yield from (
            f"left in {name}: {entry}"
            for name in ("ingest", "trash", "volumes/.trash")
            for entry in names(self.data / name)
        )
        volumes = {row[0] for row in self.query("SELECT name FROM volumes")}
        yield from differ("volumes", names(self.data / "volumes") - {".trash"}, volumes)
        for name in volumes & names(self.data / "volumes"):
            if names(self.data / "volumes" / name) != {"_data"}:
                yield f"in volume {name}: {sorted(names(self.data / 'volumes' / name))}"

    # -- containers ----------------------------------------------------------------------------------------

    def _containers(self) -> Iterator[str]:
        """What the API says runs has processes, a group, a run directory; nothing else has."""
        told = self.engine.call("GET", "/containers/json?all=1")
        rows = {row[0] for row in self.query("SELECT id FROM containers")}
        for key in rows - {entry["Id"] for entry in told}:
            yield f"row that is not told: {self.query(f'SELECT * FROM containers WHERE id = {key!r}')}"
        yield from differ("containers told and stored", {entry["Id"] for entry in told}, rows)
        states = {entry["Id"]: self.engine.state(entry["Id"]) for entry in told}
        alive = {key for key, state in states.items() if state["Running"] and not state["Restarting"]}
        yield from differ("run directories", names(self.run / "containers"), alive)
        for key in alive & names(self.run / "containers"):
            if len(names(self.run / "containers" / key)) != 1:
                yield f"run directories of {key}: {sorted(names(self.run / 'containers' / key))}"
        for path in self._groups("/c"):
            groups = {entry.name for entry in path.iterdir() if entry.is_dir()}
            yield from differ(f"groups below {path}", groups - names(self.run / "waiting"), alive)
        if len(names(self.run / "waiting")) > 2 * POOL:
            yield f"spares: {names(self.run / 'waiting')}"
        for key in alive:
            if not states[key]["Pid"] or gone(states[key]["Pid"]):
                yield f"{key} has no process {states[key]['Pid']}"

    def _groups(self, below: str) -> Iterator[Path]:
        for mount in {mount.path for mount in cgroups.detect().mounts}:
            path = Path(f"{mount}{self.engine.group}{below}")
            if path.is_dir():
                yield path

    # -- processes -----------------------------------------------------------------------------------------

    def _processes(self) -> Iterator[str]:
        """One engine, one launcher, one monitor for each container that runs, and the pool."""
        told = self.engine.call("GET", "/containers/json")
        alive = sum(entry["State"] in ("running", "paused") for entry in told)
        for pid in self.engine.pids():
            if state_of(pid) == "Z":
                yield f"zombie {pid} {comm(pid)}"
        engines = [pid for pid in self.engine.pids("/engine") if comm(pid) != "onggi-launcher"]
        if engines and engines != [self.engine.pid()]:
            yield f"engines {engines}, the lock is held by {self.engine.pid()}"
        beside = self.engine.pids("/monitors")
        launchers = [pid for pid in beside if comm(pid) == "onggi-launcher"]
        monitors = [pid for pid in beside if pid not in launchers]
        if len(launchers) != 1:
            yield f"launchers: {launchers}"
        if not alive <= len(monitors) <= alive + 2 * POOL:
            yield f"{alive} containers, beside them {[(pid, comm(pid), parent(pid)) for pid in monitors]}"


def names(directory: Path, *, numeric: bool = False) -> set[str]:
    """The entries of a directory that may be absent."""
    try:
        return {entry for entry in os.listdir(directory) if not numeric or entry.isdigit()}
    except FileNotFoundError:
        return set()


def differ(what: str, found: set[str], expected: set[str]) -> Iterator[str]:
    """A line for each side that has more than the other."""
    if found - expected:
        yield f"{what}: too many: {sorted(found - expected)}"
    if expected - found:
        yield f"{what}: missing: {sorted(expected - found)}"


def comm(pid: int) -> str:
    """The process's name, empty if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def parent(pid: int) -> int:
    """The parent's pid, 0 if the process has ended."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def state_of(pid: int) -> str:
    """One letter of proc(5), empty if the process has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""
