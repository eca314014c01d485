"""The least that a forking Python needs for a container, as floor.py asks for it, one word a line.

One process without an engine, a monitor, a log, records, a filter of system calls or any check. ``life``: it
makes control groups, forks, enters namespaces, mounts an overlay and docker's file systems, masks as docker
does, drops capabilities, executes true, reaps and removes. ``hold`` leaves a container that sleeps, in which
``exec`` executes true. Arguments: a directory with ``lower``, ``files`` and an empty ``root``, and the name
of a control group; run it with ``python3 -I -S``. An answer is seconds, of the clock and of CPU.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable

CGROUPS = "/sys/fs/cgroup"
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    *(1, 2, 4, 8, 32, 4096),
    *(16384, 1 << 18),
)
LOCKED = MS_NOSUID | MS_NODEV | MS_NOEXEC
CLONE_NEWPID = 0x20000000
OTHERS = 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x40000000  # mnt, cgroup, uts, ipc, net
MNT_DETACH, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, CAPABILITIES = 2, 24, 38, 41
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
LINKS = (("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"))
BELOW_DEV = (
    ("pts", "devpts", "newinstance,ptmxmode=0666"),
    ("shm", "tmpfs", "mode=1777"),
    ("mqueue", "mqueue", ""),
)
MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/scsi")
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """A function of the C library; raises OSError."""
    coded = (it.encode() if isinstance(it, str) else it for it in arguments)
    if getattr(libc, name)(*coded) < 0:
        raise OSError(ctypes.get_errno(), f"{name}{arguments}")


def write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, text.encode())
    os.close(fd)


def read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def hierarchies() -> list[str]:
    """Where control groups are made: v1's hierarchies, as crun does it on hybrid hosts, or v2's one."""
    if os.path.exists(f"{CGROUPS}/cgroup.procs"):
        return [CGROUPS]
    found = (f"{CGROUPS}/{name}" for name in os.listdir(CGROUPS))
    return [path for path in found if not os.path.islink(path) and os.path.exists(f"{path}/tasks")]


class Floor:
    """One directory and one control group, used by one container after the other."""

    def __init__(self, directory: str, group: str) -> None:
        self.directory, self.groups = directory, [f"{path}/{group}" for path in hierarchies()]
        self._held = 0
        for path in self.groups:
            os.makedirs(path, exist_ok=True)
            self._inherit_cpus(path)

    def close(self) -> None:
        if self._held:
            os.kill(self._held, signal.SIGKILL)
            os.waitpid(self._held, 0)
            self._clear()
        for path in self.groups:
            os.rmdir(path)

    @staticmethod
    def _inherit_cpus(path: str) -> None:
        for name in ("cpuset.cpus", "cpuset.mems") if "/cpuset/" in path else ():
            write(f"{path}/{name}", read(f"{os.path.dirname(path)}/{name}"))

    def life(self) -> None:
        """One container."""
        self._prepare()
        call("unshare", CLONE_NEWPID)
        reap(self._fork(lambda: self._become_container("/bin/true")))
        self._clear()

    def hold(self) -> None:
        """A container that sleeps until ``close``."""
        self._prepare()
        call("unshare", CLONE_NEWPID)
        self._held = self._fork(lambda: self._become_container("/bin/sleep", "1000000"))
        while read(f"/proc/{self._held}/comm") != "sleep\n":
            time.sleep(0.001)

    def execute(self) -> None:
        """True in the container that is held."""
        held = os.pidfd_open(self._held)
        call("setns", held, CLONE_NEWPID)
        reap(self._fork(lambda: self._join(held)))
        os.close(held)

    @staticmethod
    def _fork(become: Callable[[], None]) -> int:
        """A child in the PID namespace for children, to which the parent does not stay."""
        pid = os.fork()
        if pid == 0:
            try:
                become()
            except BaseException as error:
                os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        own = os.open("/proc/self/ns/pid", os.O_RDONLY)
        call("setns", own, CLONE_NEWPID)
        os.close(own)
        return pid

    def _prepare(self) -> None:
        for path in self.groups:
            os.mkdir(f"{path}/c")
            self._inherit_cpus(f"{path}/c")
            for name, limit in (
                ("memory.limit_in_bytes", 512 << 20),
                ("memory.max", 512 << 20),
                ("pids.max", 512),
            ):
                if os.path.exists(f"{path}/c/{name}"):
                    write(f"{path}/c/{name}", str(limit))
        os.mkdir(f"{self.directory}/upper")
        os.mkdir(f"{self.directory}/work")

    def _clear(self) -> None:
        for path in self.groups:
            os.rmdir(f"{path}/c")
        for name in ("upper", "work/work", "work"):
            os.rmdir(f"{self.directory}/{name}")

    def _become_container(self, *program: str) -> None:
        self._enter_groups()
        call("unshare", OTHERS)
        self._enter_root()
        mask()
        call("sethostname", "floor", 5)
        become(*program)

    def _join(self, held: int) -> None:
        self._enter_groups()
        call("setns", held, OTHERS)
        become("/bin/true")

    def _enter_groups(self) -> None:
        for path in self.groups:
            tasks = f"{path}/c/tasks"
            write(tasks if os.path.exists(tasks) else f"{path}/c/cgroup.procs", "0")

    def _enter_root(self) -> None:
        here = self.directory
        call("mount", None, "/", None, MS_PRIVATE | MS_REC, None)
        layers = f"lowerdir={here}/lower,upperdir={here}/upper,workdir={here}/work"
        call("mount", "overlay", f"{here}/root", "overlay", 0, layers)
        os.chdir(f"{here}/root")
        call("mount", "proc", "proc", "proc", LOCKED, None)
        call("mount", "sysfs", "sys", "sysfs", LOCKED | MS_RDONLY, None)
        call("mount", "tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k")
        for name, major, minor in NODES:
            os.mknod(f"dev/{name}", 0o20666, os.makedev(major, minor))
        for target, name in LINKS:
            os.symlink(target, f"dev/{name}")
        for name, kind, data in BELOW_DEV:
            os.mkdir(f"dev/{name}")
            call("mount", kind, f"dev/{name}", kind, LOCKED, data)
        for name in ("hosts", "hostname", "resolv.conf"):
            call("mount", f"{here}/files/{name}", f"etc/{name}", None, MS_BIND, None)
        call("syscall", PIVOT_ROOT[os.uname().machine], ".", ".")
        call("umount2", ".", MNT_DETACH)
        os.chdir("/")


def become(*program: str) -> None:
    """Give up capabilities and execute."""
    for number in range(CAPABILITIES):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.execv(program[0], program)


def reap(pid: int) -> None:
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("a container failed")


def mask() -> None:
    """docker's masked and read-only paths."""
    for path in filter(os.path.exists, MASKED):
        if os.path.isdir(path):
            call("mount", "tmpfs", path, "tmpfs", MS_RDONLY, None)
        else:
            call("mount", "/dev/null", path, None, MS_BIND, None)
    for path in filter(os.path.exists, READONLY):
        call("mount", path, path, None, MS_BIND | MS_REC, None)
        call("mount", None, path, None, MS_BIND | MS_REMOUNT | MS_RDONLY | LOCKED, None)


def used() -> float:
    """Seconds of CPU of this process and those that it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(it.ru_utime + it.ru_stime for it in both)


def main() -> None:
    floor = Floor(*sys.argv[1:])
    words = {"life": floor.life, "hold": floor.hold, "exec": floor.execute}
    for line in sys.stdin:
        before, began = used(), time.perf_counter()
        words[line.strip()]()
        print(time.perf_counter() - began, used() - before, flush=True)
    floor.close()


if __name__ == "__main__":
    main()
