"""The birth of an engine on demand, out of a caller's world as dirty as can be (DECISIONS 8)."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import open_files
from onggi.daemon.birth import limits_of
from onggi.kernel import cgroups
from onggi.kernel.cgroups import Group
from running_engine import COMMAND, RunningEngine, engine_in, wait_for

# Runs the command of its arguments with everything that a caller may leave behind, descriptor 9 included.
DIRTY = """
import os, resource, signal, sys
os.umask(0o077); os.nice(5); os.chdir(sys.argv[1])
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.dup2(os.open(sys.argv[1], os.O_RDONLY), 9); os.set_inheritable(9, True)
os.execve(sys.argv[2], sys.argv[2:], {"SECRET": "hunter2", "LD_BIND_NOW": "1", "PATH": "/nowhere"})
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[RunningEngine]:
    yield from engine_in(tmp_path)


@pytest.fixture
def callers_group() -> Iterator[Group]:
    group = Group(cgroups.detect(), f"/onggi-test-caller-{os.getpid()}")
    group.create()
    yield group
    group.kill()
    group.remove()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def signals(mask: str) -> set[int]:
    bits = int(mask, 16)
    return {number for number in range(1, 65) if bits >> (number - 1) & 1}


@pytest.fixture
def born(engine: RunningEngine, callers_group: Group, tmp_path: Path) -> int:
    """The pid of an engine that a dirty caller started from its own control group."""
    caller = subprocess.Popen(
        [sys.executable, "-c", DIRTY, str(tmp_path), *COMMAND, *engine.flags, "--on-demand"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: callers_group.place(os.getpid()),
    )
    engine.adopt(caller)
    wait_for("the engine", engine.serves)
    return engine.pid()


def test_nothing_of_the_caller_is_left(engine: RunningEngine, born: int, callers_group: Group) -> None:
    facts = status(born)
    assert facts["Umask"] == "0022"
    assert signals(facts["SigIgn"]) <= {signal.SIGPIPE, signal.SIGXFSZ}
    assert not signals(facts["SigBlk"])
    assert os.readlink(f"/proc/{born}/cwd") == "/"
    assert os.getsid(born) == born
    assert os.getpriority(os.PRIO_PROCESS, born) == 0  # whatever the nice value of PID 1 is
    assert os.sched_getaffinity(born) == os.sched_getaffinity(1)
    assert born not in callers_group.pids()
    assert born in engine.pids("/engine")
    lines = Path(f"/proc/{born}/cgroup").read_text().splitlines()
    used = {mount.path for mount in cgroups.detect().mounts}
    assert len([line for line in lines if line.endswith(f"{engine.group}/engine")]) == len(used)


def test_streams_and_descriptors_are_its_own(engine: RunningEngine, born: int, tmp_path: Path) -> None:
    links = open_files(born)
    assert links[0] == "/dev/null"
    assert links[1] == links[2] == f"{engine.exec_root}/onggid.log"
    assert str(tmp_path) not in links.values()


def test_limits_are_those_of_the_machine(engine: RunningEngine, born: int) -> None:
    soft, hard = resource.prlimit(born, resource.RLIMIT_NOFILE)
    assert soft == hard
    assert limits_of(born)["RLIMIT_CORE"] == limits_of(1)["RLIMIT_CORE"]
    container = engine.run("sh", "-c", "ulimit -n; ulimit -Hn; umask; echo $SECRET; echo $LD_BIND_NOW")
    engine.call("POST", f"/containers/{container}/wait")
    lines = engine.call("GET", f"/containers/{container}/logs?stdout=1")
    words = [line[8:].strip() for line in lines.split(b"\n") if line]
    # Where nobody may raise hard limits, process 1's are cut at ours.
    soft, hard = (min(limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]) for limit in of_machine())
    assert words == [str(soft).encode(), str(hard).encode(), b"0022", b"", b""]


def of_machine() -> tuple[int, int]:
    return limits_of(1)["RLIMIT_NOFILE"]


def test_launcher_and_monitors_know_no_secret(engine: RunningEngine, born: int) -> None:
    engine.run("sleep", "1000")
    looked_at = 0
    for pid in engine.pids("/monitors"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a spare that became a container's
            facts, environment = status(pid), Path(f"/proc/{pid}/environ").read_bytes()
            assert b"hunter2" not in environment
            assert not signals(facts["SigBlk"])
            assert signal.SIGHUP not in signals(facts["SigIgn"])
            looked_at += 1
    assert looked_at >= 2


def test_a_foreign_namespace_is_refused(engine: RunningEngine) -> None:
    words = [word for word in [*COMMAND, *engine.flags, "--on-demand"] if word != "--here"]
    env = {name: value for name, value in os.environ.items() if name != "ONGGI_HERE"}
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert result.returncode == 1
    assert "another mnt and net namespace than process 1" in result.stderr
    assert "--here" in result.stderr
    assert not Path(engine.exec_root).exists()


def test_sockets_and_directories_are_private_whatever_the_umask(engine: RunningEngine) -> None:
    """CVE-2014-3499: the socket of docker's systemd unit was open to the world."""
    old = os.umask(0)
    try:
        engine.start("-H", f"unix://{engine.root}/public/docker.sock")
    finally:
        os.umask(old)
    container = engine.run("true")
    engine.call("POST", f"/containers/{container}/wait")
    for root in (engine.exec_root, engine.data_root, f"{engine.root}/public"):
        assert stat.S_IMODE(os.stat(root).st_mode) == 0o700, root
    for path in (engine.socket, f"{engine.root}/public/docker.sock", f"{engine.exec_root}/launcher.sock"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, path
    assert "@" not in {line.split()[-1][:1] for line in Path("/proc/net/unix").read_text().splitlines()}
