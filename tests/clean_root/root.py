"""Makes a clean Debian root file system and runs commands in it, entered by pivot_root in private namespaces.

The world inside has its own /proc, /sys, /dev and process ids, and sees as its cgroup root a group of its own
in every hierarchy that the machine has mounted. The network is the machine's, for package access.
"""

import contextlib
import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from clean_root import machine

NODES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}


class Hierarchy(NamedTuple):
    """One mounted cgroup hierarchy; `options` is what mounts it again ("" for cgroup v2)."""

    kind: str
    options: str
    path: str


class World(NamedTuple):
    """Where to run: a root file system, paths to bind read-only, the environment, the name of a cgroup."""

    root: Path
    binds: list[str]
    env: dict[str, str]
    name: str


def make(suite: str, root: Path, packages: Sequence[str] = ("python3",)) -> None:
    """mmdebstrap's smallest root that can run apt, and packages."""
    include = f"--include={','.join(packages)}"
    arguments = ["mmdebstrap", "--quiet", "--variant=minbase", include, suite, str(root)]
    sources = machine.apt_sources(suite)
    if sources:
        (listing := root.with_suffix(".sources")).write_text(sources)
        arguments.append(str(listing))
    subprocess.run(arguments, check=True, stdin=subprocess.DEVNULL)


def hierarchies() -> list[Hierarchy]:
    """Every cgroup mount of the machine, from /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = (part.split() for part in line.split(" - ", 1))
        if right[0] == "cgroup2":
            found.append(Hierarchy("cgroup2", "", left[4]))
        elif right[0] == "cgroup":
            names = [
                word for word in right[2].split(",") if word not in ("rw", "ro", "xattr", "clone_children")
            ]
            found.append(Hierarchy("cgroup", ",".join(names), left[4]))
    return found


@contextlib.contextmanager
def groups(name: str) -> Iterator[list[str]]:
    """A group of that name in every hierarchy, removed with all below it; gives their cgroup.procs."""
    made = [Path(hierarchy.path) / name for hierarchy in hierarchies()]
    for group in made:
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            # A new cpuset of v1 is empty, and an empty one takes no process.
            if (group / file).exists() and not (group / file).read_text().strip():
                (group / file).write_text((group.parent / file).read_text())
    try:
        yield [str(group / "cgroup.procs") for group in made]
    finally:
        for group in made:
            for directory, _, _ in os.walk(group, topdown=False):
                os.rmdir(directory)


def entry(world: World, command: list[str]) -> str:
    """The shell script that turns new namespaces into the world inside and becomes the command."""
    lines = [
        "set -eu",
        f"cd {shlex.quote(str(world.root))}",
        "mount --bind . .",
        f"cd {shlex.quote(str(world.root))}",
    ]
    lines += ["mount -t proc proc proc", "mount -t sysfs sysfs sys", "mount -t tmpfs -o mode=755 tmpfs dev"]
    lines += [f"mknod -m 666 dev/{name} c 1 {minor}" for name, minor in NODES.items()]
    lines += ["mknod -m 666 dev/tty c 5 0", "mkdir dev/pts dev/shm dev/mqueue"]
    lines += ["mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts"]
    lines += ["mount -t tmpfs -o mode=1777 tmpfs dev/shm", "mount -t mqueue mqueue dev/mqueue"]
    lines += ["ln -s pts/ptmx dev/ptmx", "ln -s /proc/self/fd dev/fd", "ln -s fd/0 dev/stdin"]
    lines += ["ln -s fd/1 dev/stdout", "ln -s fd/2 dev/stderr"]
    lines += [
        line for hierarchy in sorted(hierarchies(), key=lambda h: h.path) for line in cgroup_lines(hierarchy)
    ]
    for path in world.binds:
        target = shlex.quote(path[1:])
        lines += [f"mkdir -p {target}", f"mount --bind -o ro {shlex.quote(path)} {target}"]
    lines += ["mkdir -p oldroot", "pivot_root . oldroot", "cd /", "umount -l /oldroot", "rmdir /oldroot"]
    return "\n".join([*lines, f"exec {shlex.join(command)}"])


def cgroup_lines(hierarchy: Hierarchy) -> list[str]:
    target = shlex.quote(hierarchy.path[1:])
    if hierarchy.kind == "cgroup":
        lines = ["mountpoint -q sys/fs/cgroup || mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup"]
        return [*lines, f"mkdir -p {target}", f"mount -t cgroup -o {hierarchy.options} cgroup {target}"]
    # In v2 a group with groups below it may hold no process: step aside.
    move = f"mkdir {target}/init && echo 0 >{target}/init/cgroup.procs"
    return [f"mkdir -p {target}", f"mount -t cgroup2 cgroup2 {target}", move]


def run(world: World, command: list[str], output: IO[bytes] | None = None) -> int:
    """Run a command as process 1 of a world; its exit status. Every process inside ends with it."""
    namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup"]
    inner = ["unshare", *namespaces, "--propagation", "private", "sh", "-c", entry(world, command)]
    with groups(world.name) as files:
        # The cgroup namespace begins where its creator is: enter the groups first.
        place = "".join(f"echo $$ >{shlex.quote(file)}\n" for file in files)
        shell = ["sh", "-ec", f'{place}exec "$@"', "sh", *inner]
        done = subprocess.run(
            shell, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=world.env, check=False
        )
        return done.returncode
