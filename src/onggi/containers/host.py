"""What container specs need to know about the machine: probed once, then passed as data."""

from __future__ import annotations

import glob
import os
import resource

import msgspec

from onggi.kernel import cgroup_mounts
from onggi.kernel.capabilities import current, names

# docker's: every user of a container may ping, and bind any port of its network.
_OPEN_TO_ALL = {"net.ipv4.ping_group_range": "0 2147483647", "net.ipv4.ip_unprivileged_port_start": "0"}
_MOST_CPUS = 8192
RLIMITS = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}


class Host(msgspec.Struct, frozen=True):
    """Facts of the machine and of the engine's configuration.

    ``cpus`` and ``mems`` are the sets a container may ask for, ``thermal`` the existing paths below
    ``/sys/devices/system/cpu/cpu*/thermal_throttle`` (masked by docker), ``capabilities`` the kernel's names,
    ``lacking`` those the engine does not hold. ``hard_limits`` (by ``RLIMIT_`` name) and
    ``least_oom_score_adj`` bound what an engine without CAP_SYS_RESOURCE can give. ``limits`` are those that
    control groups have here, by the names of docker's ``info`` (None: all). ``network_sysctls`` are
    set in each network namespace that is a container's own.
    """

    cpus: frozenset[int]
    mems: frozenset[int]
    capabilities: tuple[str, ...]
    storage_driver: str = "overlay2"
    cgroup_parent: str = "/onggi"
    time_namespace: bool = True
    thermal: tuple[str, ...] = ()
    log_driver: str = "json-file"
    log_options: dict[str, str] = {}
    default_ulimits: dict[str, tuple[int, int]] = {}
    lacking: frozenset[str] = frozenset()
    hard_limits: dict[str, int] = {}
    least_oom_score_adj: int = -1000
    limits: frozenset[str] | None = None
    network_sysctls: dict[str, str] = {}

    def log_options_of(self, driver: str, given: dict[str, str] | None) -> dict[str, str]:
        """Options of a container's log: the engine's, if it is the engine's driver, and its own."""
        if driver == "none":
            return {}
        return {**(self.log_options if driver == self.log_driver else {}), **(given or {})}


def parse_cpu_list(text: str) -> frozenset[int]:
    """The numbers of a list such as ``0-3,7`` (cpuset(7) list format).

    Raises ValueError for anything else; a huge range is refused before it is expanded (CVE-2018-20699).
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit() and len(first) < 6):
            raise ValueError(text)
        if dash and not (last.isascii() and last.isdigit() and len(last) < 6):
            raise ValueError(text)
        start, end = int(first), int(last) if dash else int(first)
        if end < start or end >= _MOST_CPUS:
            raise ValueError(text)
        numbers.update(range(start, end + 1))
    return frozenset(numbers)


def _read_list(path: str) -> frozenset[int]:
    try:
        with open(path, encoding="ascii") as file:
            return parse_cpu_list(file.read().strip())
    except (OSError, ValueError):
        return frozenset({0})


def detect(cgroup_parent: str, capabilities: tuple[str, ...]) -> Host:
    """Probe the running machine, and what this process may do on it."""
    held = names(current().effective)
    bound = "CAP_SYS_RESOURCE" not in held
    return Host(
        cpus=_read_list("/sys/devices/system/cpu/online"),
        mems=_read_list("/sys/devices/system/node/online"),
        capabilities=capabilities,
        cgroup_parent=cgroup_parent,
        time_namespace=os.path.exists("/proc/self/ns/time"),
        thermal=tuple(sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle"))),
        lacking=frozenset(capabilities) - frozenset(held),
        hard_limits=_hard_limits() if bound else {},
        least_oom_score_adj=_least_oom_score_adj() if bound else -1000,
        limits=_limits(),
        network_sysctls={name: value for name, value in _OPEN_TO_ALL.items() if _settable(name)},
    )


def _settable(name: str) -> bool:
    """Whether this kernel has it; groups beyond those of a user namespace cannot be given."""
    if name == "net.ipv4.ping_group_range":
        with open("/proc/self/gid_map", encoding="ascii") as file:
            if file.read().split() != ["0", "0", "4294967295"]:
                return False
    return os.path.exists("/proc/sys/" + name.replace(".", "/"))


def _limits() -> frozenset[str]:
    found = cgroup_mounts.available(cgroup_mounts.detect())
    return frozenset(name for name, here in found.items() if here)


def _hard_limits() -> dict[str, int]:
    """Hard limits of this process that are limits at all."""
    limits = {name: resource.getrlimit(number)[1] for name, number in RLIMITS.items()}
    return {name: hard for name, hard in limits.items() if hard != resource.RLIM_INFINITY}


def _least_oom_score_adj() -> int:
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        return int(file.read())
