"""Limits on processors, processes and block I/O, each by what it does; memory is in test_limits_memory.py."""

import os
import time
from pathlib import Path

import pytest

from engines import wait_until

SPIN = ("sh", "-c", "while :; do :; done")


def cpu_ns(engine, container: str) -> int:
    """Processor time of a container so far, of v1 or v2."""
    group = f"{engine.cgroup_parent}/c/{container}"
    old = Path(f"/sys/fs/cgroup/cpuacct{group}/cpuacct.usage")
    if old.exists():
        return int(old.read_text())
    line = Path(f"/sys/fs/cgroup{group}/cpu.stat").read_text().splitlines()[0]
    return int(line.split()[1]) * 1000


def cores(engine, container: str, seconds: float = 3.0) -> float:
    """How many processors it uses on average."""
    start = time.monotonic_ns()  # first and last: what passes between two looks is time, not use
    before = cpu_ns(engine, container)
    time.sleep(seconds)
    used = cpu_ns(engine, container) - before
    return used / (time.monotonic_ns() - start)


def test_cpus(ours):
    name = ours.start("--cpus", "0.5", command=SPIN)
    container = ours.inspect(name)["Id"]
    assert 0 < cores(ours.engine, container) <= 0.55  # less where others want the processors
    assert ours.command("update", "--cpus", "0.2", name).returncode == 0
    time.sleep(0.2)  # what was granted for the period that runs
    assert 0 < cores(ours.engine, container, 2.0) <= 0.25


def test_cpu_shares(ours):
    """Two on one processor, one to four; whatever else runs there takes from both, and it lasts longer."""
    small = ours.start("--cpuset-cpus", "0", "--cpu-shares", "256", command=SPIN)
    large = ours.start("--cpuset-cpus", "0", "--cpu-shares", "1024", command=SPIN)
    ids = [ours.inspect(name)["Id"] for name in (small, large)]
    before = [cpu_ns(ours.engine, one) for one in ids]

    def so_far():
        return [cpu_ns(ours.engine, one) - start for one, start in zip(ids, before, strict=True)]

    wait_until(lambda: sum(so_far()) > 1_500_000_000, "a second and a half of the processor")
    used = so_far()
    assert 3.0 <= used[1] / used[0] <= 5.0, used


def test_cpuset(ours):
    name = ours.start("--cpuset-cpus", "1")
    assert os.sched_getaffinity(ours.inspect(name)["State"]["Pid"]) == {1}
    assert ours.exec(name, "nproc") == "1"
    assert ours.command("update", "--cpuset-cpus", "0", name).returncode == 0
    assert os.sched_getaffinity(ours.inspect(name)["State"]["Pid"]) == {0}


@pytest.fixture
def below_a_limit(ours):
    """A group with room for 200 processes, should the container's own limit fail."""
    hierarchy = Path("/sys/fs/cgroup/pids")
    parent = f"{ours.engine.cgroup_parent}/bombs"
    group = Path(f"{hierarchy if hierarchy.exists() else hierarchy.parent}{parent}")
    group.mkdir(exist_ok=True)
    (group / "pids.max").write_text("200")
    return parent


def test_pids_limit(ours, below_a_limit):
    """A fork bomb stays below the limit and the container can be removed.

    Each of its processes goes on until it is refused. The container's own forks once, while there is room.
    """
    bomb = "b() { b | b & b; }; (b) & exec sleep 1000"
    name = ours.start("--pids-limit", "30", "--cgroup-parent", below_a_limit, command=["sh", "-c", bomb])
    container = ours.inspect(name)["Id"]
    hierarchy = Path("/sys/fs/cgroup/pids")
    group = Path(f"{hierarchy if hierarchy.exists() else hierarchy.parent}{below_a_limit}/{container}")
    refusals = group / "pids.events"
    wait_until(lambda: int(refusals.read_text().split()[1]) > 10, "refused forks")
    assert int((group / "pids.current").read_text()) <= 30
    done = ours.command("rm", "-f", name)
    assert done.returncode == 0, done
    assert not group.exists()


def test_exec_counts_as_well(ours):
    name = ours.start("--pids-limit", "3")
    held = ours.command("exec", name, "sh", "-c", "(sleep 1 | sleep 1 | sleep 1) 2>&1")
    assert b"can't fork" in held.stdout
    assert ours.command("update", "--pids-limit", "50", name).returncode == 0
    assert ours.exec(name, "(sleep 0 | sleep 0 | sleep 0) 2>&1") == ""


@pytest.mark.parametrize(
    ("flag", "command"),
    [
        ("--device-write-bps", "dd if=/dev/zero of=/disk/file oflag=direct bs=64k count=32"),
        ("--device-read-bps", "dd if=/disk/data iflag=direct of=/dev/null bs=64k count=32"),
    ],
)
def test_block_io(ours, disk, flag, command):
    """2 MiB at 1 MiB/s, past the page cache; without the limit it takes a few milliseconds."""
    with open(disk.directory / "data", "wb") as file:
        file.write(b"x" * (2 << 20))
        os.fsync(file)
    flags = (flag, f"{disk.device}:1mb", "-v", f"{disk.directory}:/disk")
    printed = ours(*flags, sh=f"cat /proc/uptime; {command} 2>/dev/null; cat /proc/uptime").split()
    rate = 2 / (float(printed[2]) - float(printed[0]))
    assert 0.1 <= rate <= 1.3, f"{rate} MiB/s"  # less where others want the disk
