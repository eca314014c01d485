"""Control groups: v1, hybrid and v2 behind one shape (cgroups(7), the kernel's cgroup-v1 and cgroup-v2).

``Hierarchies`` says what is mounted; it is probed once and passed. A ``Group`` is one path, "/onggi/c/x", in
*every* mounted hierarchy (also named ones, and a ``cgroup2`` mount with no controller we need): a group
joined everywhere hides the rest from a cgroup namespace, and v2's ``cgroup.kill`` serves hybrid hosts too.
What is written for which limit is the plan of ``cgroup_resources``; ``cgroup_stats`` reads the counters.

May import: errors and the modules of this room.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from typing import Any, Self

from onggi.errors import KernelError, Unsupported
from onggi.kernel import cgroup_devices, cgroup_resources, cgroup_stats, syscalls
from onggi.kernel import cgroup_tree as tree
from onggi.kernel.cgroup_mounts import Hierarchies, Mount, available, detect, probe
from onggi.kernel.cgroup_resources import Write
from onggi.kernel.files import read_small

__all__ = ["Group", "Hierarchies", "Mount", "OomWatch", "available", "detect", "probe"]

Json = Any


class OomWatch:
    """Counts out-of-memory kills in a group and those nested in it. Read it before the group is removed, and
    close it.
    """

    def __init__(self, group: Group) -> None:
        mount = group.hierarchies.of("memory")
        self._events = self._control = -1
        self._file, self._fired = "", 0
        if mount is None:
            return
        directory = mount.path + group.path
        self._file = f"{directory}/{'memory.oom_control' if mount.version == 1 else 'memory.events'}"
        if mount.version == 1:
            # v1 counts locally: a kill in a nested group only shows as an event on ours.
            self._events = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._control = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
            tree.write(f"{directory}/cgroup.event_control", f"{self._events} {self._control}")

    def fileno(self) -> int:
        """A descriptor readable after an event (v1), or -1."""
        return self._events

    def count(self) -> int:
        """How often the kernel ran out of the group's memory so far; 0 without a memory controller."""
        if self._events >= 0:
            try:
                self._fired += os.eventfd_read(self._events)
            except BlockingIOError:
                pass
        try:
            counters = cgroup_stats.flat(read_small(self._file).decode()) if self._file else {}
        except OSError as error:
            if error.errno not in tree.GONE:
                raise KernelError("read", error.errno or 0, self._file) from None
            counters = {}
        return max(counters.get("oom_kill", 0), self._fired)

    def close(self) -> None:
        """Release the descriptors; idempotent."""
        for fd in (self._control, self._events):
            if fd >= 0:
                os.close(fd)
        self._events = self._control = -1


class Group:
    """One control group in every hierarchy. All methods raise KernelError with the file's path."""

    def __init__(self, hierarchies: Hierarchies, path: str) -> None:
        self.hierarchies, self.path = hierarchies, path
        self._directories = [mount.path + path for mount in hierarchies.mounts]
        self._inside: tuple[int, ...] = ()  # versions of the hierarchies in which this process is

    def create(self) -> None:
        """Make the group and its parents where missing; on v1 cpuset is copied down each level we make."""
        for mount in self.hierarchies.mounts:
            tree.make(mount, self.path)

    def apply(self, resources: Json) -> list[str]:
        """Set OCI ``linux.resources`` (also to change them); returns warnings for what docker only warns of.

        Raises Unsupported for other limits the machine lacks, InvalidArgument for wrong ones.
        """
        plan = cgroup_resources.plan(resources, self.hierarchies.versions)
        warnings = list(plan.warnings)
        self._check_memory(resources)
        with _Files(self) as files:
            again = [write for write in plan.writes if not files.write(write, warnings, last=False)]
            for write in again:
                files.write(write, warnings, last=True)
        if plan.devices and self.hierarchies.of("devices") is None:
            self._restrict_devices(plan.devices)
        return warnings

    def place(self, pid: int) -> None:
        """Move a process into the group in every hierarchy."""
        for directory in self._directories:
            tree.write(f"{directory}/cgroup.procs", str(pid))

    def fork(self) -> int:
        """fork(2); 0 in the child, which calls ``enter`` before anything else.

        Moving another process (``place``) waits for a grace period of the kernel, 4 to 20 ms where nobody
        has done so just now. One that is born in its v2 group, or moves itself, as one that has a single
        thread may, waits for nothing (Linux 5.7).
        """
        unified = self.hierarchies.unified
        pid = _fork_into(unified.path + self.path) if unified else -1
        if pid == 0:
            self._inside = (2,)
        return os.fork() if pid < 0 else pid

    def enter(self) -> None:
        """Move the caller, which must have one thread, into the group in every hierarchy. Idempotent."""
        for mount in self.hierarchies.mounts:
            if mount.version not in self._inside:
                name = "tasks" if mount.version == 1 else "cgroup.procs"
                tree.write(f"{mount.path}{self.path}/{name}", "0")
        self._inside = (1, 2)

    def pids(self) -> list[int]:
        """Processes of the group and of the groups nested in it, sorted; zombies do not count."""
        mount = self.hierarchies.unified or self.hierarchies.of("freezer") or self.hierarchies.mounts[0]
        return sorted(tree.collect(mount.path + self.path))

    def frozen(self) -> bool:
        """Whether the group is frozen as a whole."""
        name, _, _, done = self._freezer()
        return done in tree.read_or_empty(name)

    def freeze(self) -> None:
        """Stop every process, and return when all stand still."""
        watched, control, (on, off), done = self._freezer()
        tree.write(control, on)
        deadline = time.monotonic() + tree.WAIT_S
        while done not in tree.read_or_empty(watched):
            if time.monotonic() > deadline:
                tree.write(control, off)
                raise KernelError("freeze", errno.EBUSY, control)
            time.sleep(0.0005)
            tree.write(control, on)  # v1: a task in the middle of a fork needs a second try

    def thaw(self) -> None:
        """Let the processes run again."""
        _, control, (_, off), _ = self._freezer()
        tree.write(control, off)

    def kill(self, *, wait: bool = True) -> None:
        """Kill every process of the group and of nested ones, frozen or not; return when none is left.

        The parent of some of them must not ``wait``: the first process of a PID namespace ends only when all
        others have been reaped.
        """
        if not wait:
            self._kill_round(self.pids(), 0)
            return
        deadline = time.monotonic() + tree.WAIT_S
        while pids := self.pids():
            if time.monotonic() > deadline:
                raise KernelError("kill", errno.EBUSY, self.path)
            self._kill_round(pids, deadline)

    def remove(self) -> None:
        """Remove the group and what is nested in it, from every hierarchy; idempotent. It must be empty."""
        for directory in reversed(self._directories):
            tree.remove(directory)

    def exists(self) -> bool:
        """Whether the group is there in any hierarchy."""
        return any(os.path.exists(directory) for directory in self._directories)

    def stats(self) -> Json:
        """Docker's raw numbers: cpu_stats, memory_stats, pids_stats, blkio_stats; bytes and nanoseconds."""
        mounts = {name: self.hierarchies.of(name) for name in ("cpu", "cpuacct", "memory", "pids", "blkio")}
        return cgroup_stats.read({name: (m.version, m.path + self.path) for name, m in mounts.items() if m})

    def directory(self, controller: str) -> str:
        """The group's directory in a controller's hierarchy; Unsupported where that is not mounted."""
        mount = self.hierarchies.unified if controller == "unified" else self.hierarchies.of(controller)
        if mount is None:
            raise Unsupported(f"cgroup controller {controller} is not mounted")
        return mount.path + self.path

    def enable(self, controller: str) -> None:
        """Switch a v2 controller on for this group; nothing to do on v1."""
        mount = self.hierarchies.of(controller)
        if mount and mount.version == 2:
            tree.enable(mount, os.path.dirname(self.path), {"io" if controller == "blkio" else controller})

    def _freezer(self) -> tuple[str, str, tuple[str, str], str]:
        """File that tells, file that commands, words for (on, off), and what is read when all stand still."""
        mount = self.hierarchies.of("freezer")
        if mount:
            state = f"{mount.path}{self.path}/freezer.state"
            return state, state, ("FROZEN", "THAWED"), "FROZEN"
        directory = self.directory("unified")
        return f"{directory}/cgroup.events", f"{directory}/cgroup.freeze", ("1", "0"), "frozen 1"

    def _kill_round(self, pids: list[int], deadline: float) -> None:
        try:
            self._kill_these(pids, deadline)
        except KernelError as error:  # who is removed by another meanwhile has nobody left to kill
            if error.errno not in tree.GONE or self.pids():
                raise

    def _kill_these(self, pids: list[int], deadline: float) -> None:
        unified = self.hierarchies.unified
        if unified and tree.has(unified.path + self.path, "cgroup.kill"):
            tree.write(f"{unified.path}{self.path}/cgroup.kill", "1")
            fds = _pidfds(pids)
        else:
            # Frozen, nobody can fork away from the list we read.
            self.freeze()
            fds = _pidfds(self.pids())
            for fd in fds:
                _signal(fd)
        self._thaw_all()
        _wait(fds, deadline)

    def _thaw_all(self) -> None:
        """Frozen, nobody dies of SIGKILL on v1; and a nested group may have been frozen by its own engine."""
        mount = self.hierarchies.of("freezer")
        if mount is None:
            self.thaw()  # what the round before froze; v2's frozen processes can be killed
            return
        for directory in tree.walk(mount.path + self.path):
            try:
                tree.write(f"{directory}/freezer.state", "THAWED")
            except KernelError as error:
                if error.errno not in tree.GONE:
                    raise

    def _check_memory(self, resources: Json) -> None:
        memory = resources.get("memory") or {}
        limit = memory.get("limit") or -1
        if memory.get("checkBeforeUpdate") and limit > 0 and self.hierarchies.versions.get("memory") == 2:
            path = f"{self.directory('memory')}/memory.current"
            if int(read_small(path)) > limit:
                raise KernelError("write", errno.EBUSY, path.replace(".current", ".max"))

    def _restrict_devices(self, rules: tuple[cgroup_devices.Rule, ...]) -> None:
        fd = tree.open_file(self.directory("unified"), os.O_RDONLY | os.O_DIRECTORY)
        try:
            cgroup_devices.attach(fd, cgroup_devices.program(rules))
        finally:
            os.close(fd)


class _Files:
    """Writes of one plan; a file written several times in a row is opened once."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._path, self._fd = "", -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def write(self, write: Write, warnings: list[str], *, last: bool) -> bool:
        """Whether the write is settled; False asks for a second try when the plan's other writes are done."""
        try:
            self._write(write)
        except KernelError as error:
            if error.errno == errno.EINVAL and write.twice and not last:
                return False
            if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
                raise
            if write.otherwise:
                return self.write(write.otherwise, warnings, last=last)
            if not self._group.exists():
                raise
            self._refuse_withheld(write)
            _lacking(write, warnings)
        except Unsupported:
            _lacking(write, warnings)
        return True

    def _refuse_withheld(self, write: Write) -> None:
        """Raise Unsupported if the machine has the controller, and a group above does not pass it down.

        No warning of docker's says so, and a limit is not to be lost without a word.
        """
        mount = self._group.hierarchies.of(write.controller)
        if mount is None or mount.version == 1:
            return
        directory = self._group.directory(write.controller)
        name = "io" if write.controller == "blkio" else write.controller
        if (
            tree.has(directory, "cgroup.controllers")
            and name not in tree.read(f"{directory}/cgroup.controllers").split()
        ):
            raise Unsupported(
                f"cannot set {write.file}: the groups above {self._group.path} do not pass the controller"
                f" {name} down, as one in which processes live cannot; take another cgroup parent"
            )

    def _write(self, write: Write) -> None:
        path = f"{self._group.directory(write.controller)}/{write.file}"
        if path != self._path:
            self._close()
            if write.controller not in tree.ALWAYS:
                self._group.enable(write.controller)
            self._fd, self._path = tree.open_file(path, os.O_WRONLY), path
        try:
            os.write(self._fd, write.value.encode())
        except OSError as error:
            raise KernelError("write", error.errno or 0, path, f"set {write.file} to {write.value}") from None

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._path, self._fd = "", -1


def _fork_into(directory: str) -> int:
    """``syscalls.fork_into``; -1 where the kernel or the group refuses, for example for being full."""
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        return syscalls.fork_into(fd)
    except KernelError:
        return -1
    finally:
        os.close(fd)


def _lacking(write: Write, warnings: list[str]) -> None:
    if not write.lacking:
        raise Unsupported(f"your kernel does not support {write.file}, or the cgroup is not mounted")
    if write.lacking not in warnings:
        warnings.append(write.lacking)


def _pidfds(pids: list[int]) -> list[int]:
    fds = []
    for pid in pids:
        try:
            fds.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
    return fds


def _signal(pidfd: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _wait(pidfds: list[int], deadline: float) -> None:
    poll = select.poll()
    for fd in pidfds:
        poll.register(fd, select.POLLIN)
    left = set(pidfds)
    while left and (remaining := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(remaining * 1000):
            poll.unregister(fd)
            left.discard(fd)
    for fd in pidfds:
        os.close(fd)
