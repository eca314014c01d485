"""Directories and files of control groups: made, filled, listed and removed, one hierarchy at a time.

Paths of groups are absolute within a hierarchy ("/onggi/c/x"). Nothing here knows limits or processes' life.

May import: errors and the modules of this room.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator

from onggi.errors import KernelError
from onggi.kernel.cgroup_mounts import Mount
from onggi.kernel.files import read_small

# Controllers every group of a v2 tree gets: limits and counters that docker reads. Others (hugetlb) on
# request, because switching one on touches groups above ours.
ALWAYS = frozenset({"cpu", "cpuset", "io", "memory", "pids"})
GONE = (errno.ENOENT, errno.ENODEV)
WAIT_S = 10.0
_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")


def make(mount: Mount, path: str, *, parent: bool = False) -> None:
    """Make a group and its parents in one hierarchy; on v1 fill its cpuset, on v2 enable controllers."""
    directory, above = mount.path + path, os.path.dirname(path).rstrip("/")
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        pass
    except FileNotFoundError:
        if not above:
            raise KernelError("mkdir", errno.ENOENT, directory) from None
        make(mount, above, parent=True)
        make(mount, path, parent=parent)
        return
    except OSError as error:
        raise KernelError("mkdir", error.errno or 0, directory) from None
    if mount.version == 2:
        enable(mount, above, ALWAYS)
    elif "cpuset" in mount.controllers:
        _copy_cpuset(mount.path, path)
        if parent:
            # The kernel then fills the groups below at mkdir(2), which is cheaper than writing them.
            write(f"{directory}/cgroup.clone_children", "1")


def _copy_cpuset(root: str, path: str) -> None:
    """Fill an empty cpuset from the level above: a pid placed in an empty one gets ENOSPC."""
    for name in _CPUSET_FILES:
        if path in ("", "/") or read(f"{root}{path}/{name}").strip():
            continue
        above = os.path.dirname(path).rstrip("/")
        _copy_cpuset(root, above)
        write(f"{root}{path}/{name}", read(f"{root}{above}/{name}").strip())


def enable(mount: Mount, path: str, controllers: frozenset[str] | set[str]) -> None:
    """Switch controllers on for the children of ``path``, from the root of the tree down."""
    wanted = controllers & set(mount.controllers)
    path = path.rstrip("/")
    if not wanted:
        return
    control = f"{mount.path}{path}/cgroup.subtree_control"
    missing = wanted - set(read(control).split())
    if not missing or _inhabited(f"{mount.path}{path}"):
        return
    if path:
        enable(mount, os.path.dirname(path), controllers)
    for name in sorted(missing):
        try:
            write(control, f"+{name}")
        except KernelError as error:
            # EBUSY: processes came to live above us. The limit's own file is missing then, and whoever asks
            # for it is told.
            if error.errno not in (errno.EBUSY, errno.ENOENT, errno.EACCES, errno.EROFS, errno.EOPNOTSUPP):
                raise


def _inhabited(directory: str) -> bool:
    """Whether processes live in a v2 group itself, so that those below it get no controllers.

    The kernel refuses most controllers then, but not cpu, cpuset and pids: with one of these the group
    becomes a threaded one, in which no group below takes a process any more. The kernel's own root, which
    has no type, is exempt.
    """
    try:
        return has(directory, "cgroup.type") and bool(read_or_empty(f"{directory}/cgroup.procs").strip())
    except KernelError as error:
        if error.errno == errno.EOPNOTSUPP:  # it is part of a threaded group already
            return True
        raise


def remove(directory: str) -> None:
    """Remove a directory and the groups nested in it; waits for processes that are just dying. Idempotent."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            os.rmdir(directory)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY) or time.monotonic() > deadline:
                raise KernelError("rmdir", error.errno or 0, directory) from None
        nested = _nested(directory)
        for child in nested:
            remove(child)
        if not nested:
            time.sleep(0.0005)  # a process that just died leaves its group a moment later


def _nested(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def walk(directory: str) -> Iterator[str]:
    """A group's directory and those nested in it, parents first."""
    yield directory
    # The link count of a cgroup directory is 2 + its children: most groups need no listing.
    try:
        if os.stat(directory).st_nlink <= 2:
            return
    except FileNotFoundError:
        return
    for child in _nested(directory):
        yield from walk(child)


def collect(directory: str) -> set[int]:
    """The processes of a group and of those nested in it."""
    texts = (read_or_empty(f"{level}/cgroup.procs") for level in walk(directory))
    return {int(word) for text in texts for word in text.split()}


def has(directory: str, name: str) -> bool:
    """Whether the kernel offers a file in a group."""
    return os.path.exists(f"{directory}/{name}")


def open_file(path: str, flags: int) -> int:
    """Open a file of a group; close-on-exec."""
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None


def write(path: str, value: str) -> None:
    """Write one value to a file of a group."""
    fd = open_file(path, os.O_WRONLY)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise KernelError("write", error.errno or 0, path) from None
    finally:
        os.close(fd)


def read(path: str) -> str:
    """The text of a file of a group."""
    try:
        return read_small(path).decode()
    except OSError as error:
        raise KernelError("read", error.errno or 0, path) from None


def read_or_empty(path: str) -> str:
    """The text of a file, "" where file or group is gone."""
    try:
        return read_small(path).decode()
    except OSError as error:
        if error.errno in GONE:
            return ""
        raise KernelError("read", error.errno or 0, path) from None
