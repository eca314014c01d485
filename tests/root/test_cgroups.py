"""Control groups of the running kernel: every limit is shown by what it does to a process.

All groups lie below one of their own, which is removed afterwards. What this machine mounts is tested as
found, and once more as v1 alone and as v2 alone where it has both.
"""

import contextlib
import errno
import json
import os
import secrets
import select
import signal
import time
from collections.abc import Callable

import pytest

from onggi.errors import KernelError
from onggi.kernel import cgroups, syscalls
from onggi.kernel.cgroups import Group, Hierarchies, OomWatch

MIB = 1 << 20
DEADLINE_MS = 30_000
ALL = cgroups.detect()
DENY_ALL = {"allow": False, "access": "rwm"}
NULL = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}
ZERO = {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"}


def only(version: int) -> Hierarchies:
    return Hierarchies(tuple(mount for mount in ALL.mounts if mount.version == version))


# Which part of the machine a test speaks to; an empty part is not a test.
PARTS = {"as found": ALL, "v1": only(1), "v2": only(2)}
PARTS = {name: part for name, part in PARTS.items() if part.mounts}


class Child:
    """A process that waits for a byte, does its work, writes the answer as JSON, and stays until let go."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._go, self._answer, self._stay = os.pipe(), os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(work)
        for fd in (self._go[0], self._answer[1], self._stay[0]):
            os.close(fd)
        self.status: int | None = None

    def _run(self, work: Callable[[], object]) -> None:
        try:
            os.close(self._stay[1])
            os.read(self._go[0], 1)
            os.write(self._answer[1], json.dumps(work()).encode())
            os.close(self._answer[1])
            os.read(self._stay[0], 1)
        finally:
            os._exit(0)

    def ask(self) -> object:
        """Let it work; its answer, or None if it died first."""
        os.write(self._go[1], b"x")
        assert select.select([self._answer[0]], [], [], DEADLINE_MS / 1000)[0]
        text = os.read(self._answer[0], 65536)
        return json.loads(text) if text else None

    def wait(self) -> int:
        """Its wait status."""
        if self.status is None:
            poll = select.poll()
            pidfd = os.pidfd_open(self.pid)
            poll.register(pidfd, select.POLLIN)
            assert poll.poll(DEADLINE_MS)
            os.close(pidfd)
            self.status = os.waitpid(self.pid, 0)[1]
        return self.status

    def close(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        for fd in (self._go[1], self._answer[0], self._stay[1]):
            os.close(fd)


@pytest.fixture
def base():
    """Path of a group of our own; whatever a test made below it ends with the test."""
    path = f"/onggi-test-{secrets.token_hex(4)}"
    # Orphans come to us: the first process of some machines never reaps.
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    yield path
    top = Group(ALL, path)
    top.kill()
    top.remove()
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 0)
    reap()
    assert not top.exists()


@pytest.fixture
def child():
    """Makes children that end with the test."""
    made = []

    def make(work=lambda: None):
        made.append(Child(work))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def group(base):
    found = Group(ALL, f"{base}/c/x")
    found.create()
    return found


@pytest.fixture(params=PARTS, ids=str)
def part(request, base):
    found = Group(PARTS[request.param], f"{base}/c/x")
    found.create()
    return found


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def open_errno(path):
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        return error.errno
    return 0


def test_process_is_placed_in_every_hierarchy(group, child):
    placed = child()
    group.place(placed.pid)
    assert group.pids() == [placed.pid]
    with open(f"/proc/{placed.pid}/cgroup") as file:
        paths = [line.strip().split(":", 2)[2] for line in file]
    assert set(paths) == {group.path}


def groups_of_fork(group):
    """Paths of the groups of a child that was forked into ``group``, by the name of the hierarchy."""
    read, write = os.pipe()
    pid = group.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            group.enter()
            with open("/proc/self/cgroup", "rb") as file:
                os.write(write, file.read())
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as file:
        lines = file.read().splitlines()
    os.waitpid(pid, 0)
    return {line.split(":")[1]: line.split(":", 2)[2] for line in lines}


def names_of(group):
    return ["" if mount.version == 2 else ",".join(mount.controllers) for mount in group.hierarchies.mounts]


def test_a_child_is_forked_into_every_hierarchy(group):
    paths = groups_of_fork(group)
    assert {paths[name] for name in names_of(group)} == {group.path}
    assert not group.pids()


def test_a_child_enters_where_the_kernel_does_not_fork_into_groups(group, monkeypatch):
    def refuse(_fd):
        raise KernelError("clone3", errno.ENOSYS)

    monkeypatch.setattr(syscalls, "fork_into", refuse)
    paths = groups_of_fork(group)
    assert {paths[name] for name in names_of(group)} == {group.path}


def test_a_full_group_is_entered_all_the_same(group, child):
    """As by a move, which the kernel does not refuse for the number of processes either."""
    group.apply({"pids": {"limit": 1}})
    group.place(child().pid)
    paths = groups_of_fork(group)
    assert {paths[name] for name in names_of(group)} == {group.path}


def test_creating_twice_and_removing_twice_is_fine(group):
    group.create()
    Group(ALL, f"{group.path}/nested/deep").create()
    group.remove()
    group.remove()
    assert not group.exists()


def test_pids_limit_holds_a_fork_bomb(group, child):
    def bomb():
        pids = []
        try:
            while len(pids) < 50:
                pid = os.fork()
                if pid == 0:
                    signal.pause()
                pids.append(pid)
        except BlockingIOError:
            pass
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return len(pids)

    assert group.apply({"pids": {"limit": 8}}) == []
    bomber = child(bomb)
    group.place(bomber.pid)
    assert bomber.ask() == 7


def hog():
    return len(b"x" * (200 * MIB))


@pytest.mark.parametrize("nested", ["", "/inner"])
def test_memory_limit_kills_and_is_counted(group, child, nested):
    assert group.apply({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}}) == []
    inner = Group(ALL, group.path + nested)
    inner.create()
    eater = child(hog)
    inner.place(eater.pid)
    watch = OomWatch(group)
    try:
        assert watch.count() == 0
        assert eater.ask() is None
        assert os.WTERMSIG(eater.wait()) == signal.SIGKILL
        if watch.fileno() >= 0:
            assert select.select([watch.fileno()], [], [], DEADLINE_MS / 1000)[0]
        assert watch.count() == 1
        assert watch.count() == 1
    finally:
        watch.close()


def test_memory_limits_go_up_and_down_in_any_order(group):
    directory = group.directory("memory")
    name = "memory.limit_in_bytes" if ALL.of("memory").version == 1 else "memory.max"
    for limit in (64 * MIB, 256 * MIB, 16 * MIB, 128 * MIB):
        group.apply({"memory": {"limit": limit, "swap": 2 * limit}})
        with open(f"{directory}/{name}") as file:
            assert int(file.read()) == limit


def test_cpu_quota_throttles(group, child):
    def burn():
        while time.process_time() < 0.01:
            sum(range(10_000))

    # So little that a busy machine grants it, too: who gets less than the quota is never throttled.
    group.apply({"cpu": {"quota": 1_000, "period": 50_000}})
    burner = child(burn)
    group.place(burner.pid)
    burner.ask()
    stats = group.stats()["cpu_stats"]
    assert stats["throttling_data"]["throttled_periods"] > 0
    assert stats["cpu_usage"]["total_usage"] > 5_000_000


def test_quota_and_period_change_together(group):
    for quota, period in ((50_000, 100_000), (500_000, 1_000_000), (2_000, 4_000), (-1, 100_000)):
        assert group.apply({"cpu": {"quota": quota, "period": period}}) == []


def test_cpuset_is_filled_on_every_level_and_holds(group, child):
    affinity = child(lambda: sorted(os.sched_getaffinity(0)))
    cpu = min(os.sched_getaffinity(0))
    group.apply({"cpu": {"cpus": str(cpu), "mems": "0"}})
    group.place(affinity.pid)
    assert affinity.ask() == [cpu]


def test_block_io_limits_reach_the_kernel(group):
    device = os.stat("/").st_dev
    number = {"major": os.major(device), "minor": os.minor(device) & ~0xF}
    if not os.path.exists(f"/sys/dev/block/{number['major']}:{number['minor']}"):
        number = {"major": 7, "minor": 0}
    group.apply({"blockIO": {"throttleReadBpsDevice": [{**number, "rate": MIB}]}})
    name = "blkio.throttle.read_bps_device" if ALL.of("blkio").version == 1 else "io.max"
    with open(f"{group.directory('blkio')}/{name}") as file:
        assert f"{number['major']}:{number['minor']} " in file.read()


def test_weights_the_kernel_lacks_are_a_warning(group):
    present = cgroups.available(ALL)["BlkioWeight"]
    assert bool(group.apply({"blockIO": {"weight": 500}})) != present


def test_devices_are_denied_but_for_the_list(part, child):
    opener = child(lambda: [open_errno("/dev/null"), open_errno("/dev/zero")])
    part.apply({"devices": [DENY_ALL, NULL]})
    part.place(opener.pid)
    assert opener.ask() == [0, errno.EPERM]


def test_devices_can_be_changed(part, child):
    part.apply({"devices": [DENY_ALL, NULL]})
    part.apply({"devices": [DENY_ALL, ZERO]})
    opener = child(lambda: [open_errno("/dev/null"), open_errno("/dev/zero")])
    part.place(opener.pid)
    assert opener.ask() == [errno.EPERM, 0]


def spawn_three():
    """Two levels of children in sessions of their own, which only a signal ends."""
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                signal.pause()
            signal.pause()
    return True


@pytest.mark.parametrize("frozen", [False, True])
def test_kill_ends_everybody(part, child, frozen):
    parent = child(spawn_three)
    part.place(parent.pid)
    assert parent.ask()
    nested = Group(part.hierarchies, f"{part.path}/nested")
    nested.create()
    inner = child()
    nested.place(inner.pid)
    if frozen:
        part.freeze()
    part.kill()
    assert part.pids() == []
    assert os.WTERMSIG(parent.wait()) == signal.SIGKILL
    assert os.WTERMSIG(inner.wait()) == signal.SIGKILL
    part.kill()


def test_kill_reaches_a_nested_group_that_was_frozen_by_itself(part, child):
    nested = Group(part.hierarchies, f"{part.path}/nested")
    nested.create()
    inner = child()
    nested.place(inner.pid)
    nested.freeze()
    part.kill()
    assert os.WTERMSIG(inner.wait()) == signal.SIGKILL


def test_kill_without_the_kernels_help(part, child, monkeypatch):
    monkeypatch.setattr(cgroups.tree, "has", lambda directory, name: False)
    parent = child(spawn_three)
    part.place(parent.pid)
    assert parent.ask()
    part.kill()
    assert part.pids() == []


def test_kill_of_a_group_that_another_removes_meanwhile(group, monkeypatch):
    """Its list was read, and then it is not there any more."""
    lists = iter([[1 << 22], []])
    monkeypatch.setattr(type(group), "pids", lambda _: next(lists, []))
    group.remove()
    group.kill()


def test_frozen_processes_stand_still_until_thawed(part, child):
    worker = child(lambda: 42)
    part.place(worker.pid)
    part.freeze()
    assert part.frozen()
    os.write(worker._go[1], b"x")
    # Frozen, it cannot answer however long we look; thawed, it must.
    assert not select.select([worker._answer[0]], [], [], 0.1)[0]
    part.thaw()
    assert not part.frozen()
    assert worker.ask() == 42


def test_a_group_in_use_is_not_removed(part, child, monkeypatch):
    monkeypatch.setattr(cgroups.tree, "WAIT_S", 0.05)
    member = child()
    part.place(member.pid)
    with pytest.raises(KernelError, match="rmdir"):
        part.remove()
    assert part.pids() == [member.pid]


def test_numbers_of_a_group(group, child):
    member = child(lambda: len(bytes(8 * MIB)))
    group.apply({"memory": {"limit": 64 * MIB}, "pids": {"limit": 5}})
    group.place(member.pid)
    assert member.ask()
    stats = group.stats()
    assert stats["memory_stats"]["limit"] == 64 * MIB
    assert stats["memory_stats"]["usage"] > 0
    assert stats["pids_stats"] == {"current": 1, "limit": 5}
    assert stats["cpu_stats"]["cpu_usage"]["total_usage"] > 0


def test_what_is_available_can_be_set(group):
    found = cgroups.available(ALL)
    assert found["MemoryLimit"] == (group.apply({"memory": {"limit": 64 * MIB}}) == [])
    assert found["PidsLimit"] == (group.apply({"pids": {"limit": 9}}) == [])
    assert found["CPUShares"] == (group.apply({"cpu": {"shares": 512}}) == [])
