"""Which control group hierarchies are mounted, and where: cgroups(7), ``/proc/self/mountinfo``.

May import: errors and the modules of this room.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from onggi.kernel import cgroup_resources
from onggi.kernel.files import read_small

# Files that every kernel with the controller has, but not in the root group.
_EVERY_GROUP_HAS = frozenset({
    "cpu.max", "cpu.weight", "cpuset.cpus", "io.max", "memory.low", "memory.max", "pids.max",
})  # fmt: skip


class Mount(NamedTuple):
    """One mounted hierarchy: controllers (or ``name=x``), mount point, and the prober's own group."""

    version: int
    controllers: tuple[str, ...]
    path: str
    own: str


class Hierarchies(NamedTuple):
    """All mounted hierarchies, v1 first, each once."""

    mounts: tuple[Mount, ...]

    def of(self, controller: str) -> Mount | None:
        """The hierarchy that has a controller (v2's ``io`` answers to ``blkio``)."""
        for mount in self.mounts:
            names = mount.controllers
            if controller in names or (controller == "blkio" and mount.version == 2 and "io" in names):
                return mount
        return None

    @property
    def unified(self) -> Mount | None:
        """The v2 hierarchy, with or without controllers."""
        return next((mount for mount in self.mounts if mount.version == 2), None)

    @property
    def versions(self) -> dict[str, int]:
        """Controller -> version of the hierarchy it lives in; ``devices`` is BPF (2) where v1 has none."""
        found = {name: mount.version for mount in self.mounts for name in mount.controllers}
        if "io" in found:
            found["blkio"] = found.pop("io")
        if self.unified:
            found.setdefault("devices", 2)
            found.setdefault("freezer", 2)
        return found

    @property
    def pure_v2(self) -> bool:
        """Whether there is nothing but v2 (docker's ``CgroupVersion``)."""
        return bool(self.mounts) and all(mount.version == 2 for mount in self.mounts)

    def places(self, group: str) -> tuple[tuple[str, str], ...]:
        """(name below /sys/fs/cgroup, what a container of this group without a cgroup namespace sees there).

        On v1 the directories of the group. On pure v2 one pair without a name: the whole tree, in which its
        /proc/self/cgroup names the group, as runc has it.
        """
        if self.pure_v2:
            return (("", self.mounts[0].path),)
        return tuple((os.path.basename(mount.path), mount.path + group) for mount in self.mounts)


def probe(mountinfo: str, self_cgroup: str, v2_controllers: str = "") -> Hierarchies:
    """Hierarchies from the texts of ``/proc/self/{mountinfo,cgroup}`` and v2's ``cgroup.controllers``."""
    own = {}
    for line in self_cgroup.splitlines():
        _, names, path = line.split(":", 2)
        own[names] = path
    found: dict[str, Mount] = {}
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        kind, _, options = [*tail.split(" ", 2), "", ""][:3]
        if kind not in ("cgroup", "cgroup2"):
            continue
        root, point = (_unescape(field) for field in fields.split(" ")[3:5])
        key = next((names for names in own if names and set(names.split(",")) <= set(options.split(","))), "")
        if kind == "cgroup2":
            found.setdefault(
                "", Mount(2, tuple(v2_controllers.split()), point, _below(root, own.get("", "/")))
            )
        elif key:
            found.setdefault(key, Mount(1, tuple(key.split(",")), point, _below(root, own[key])))
    return Hierarchies(tuple(sorted(found.values(), key=lambda mount: mount.version)))


def detect() -> Hierarchies:
    """Hierarchies of this process; mounts that another mount hides do not count."""
    texts = [read_small(f"/proc/self/{name}").decode() for name in ("mountinfo", "cgroup")]
    found = probe(texts[0], texts[1])
    if found.unified:
        try:
            found = probe(texts[0], texts[1], read_small(f"{found.unified.path}/cgroup.controllers").decode())
        except OSError:  # hidden by a later mount
            pass
    return Hierarchies(tuple(m for m in found.mounts if os.path.exists(f"{m.path}/cgroup.procs")))


def available(hierarchies: Hierarchies) -> dict[str, bool]:
    """Which limits this machine has, by the names of docker's ``info``."""
    return cgroup_resources.available(
        hierarchies.versions, lambda controller, name: _offers(hierarchies.of(controller), name)
    )


def _offers(mount: Mount | None, name: str) -> bool:
    """Whether groups of a hierarchy have a file; the root group lacks some, so one below it is asked."""
    if mount is None:
        return False
    if os.path.exists(f"{mount.path}/{name}"):
        return True
    with os.scandir(mount.path) as entries:
        below = next((entry.path for entry in entries if entry.is_dir(follow_symlinks=False)), "")
    # Without any group there is nothing to look at; the kernel's own list of controllers then has the word.
    return os.path.exists(f"{below}/{name}") if below else name in _EVERY_GROUP_HAS


def _below(root: str, path: str) -> str:
    """A group's path below a mount that shows only the tree from ``root`` on."""
    if root == "/":
        return path
    return path.removeprefix(root) or "/"


def _unescape(field: str) -> str:
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        field = field.replace(code, character)
    return field
