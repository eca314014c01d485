"""What container specs need to know about the machine: probed once, then passed as data."""

from __future__ import annotations

import glob
import os

import msgspec


class Host(msgspec.Struct, frozen=True):
    """Facts of the machine and of the engine's configuration.

    ``cpus`` and ``mems`` are the sets a container may ask for, ``thermal`` the existing paths below
    ``/sys/devices/system/cpu/cpu*/thermal_throttle`` (masked by docker), ``capabilities`` the kernel's names.
    """

    cpus: frozenset[int]
    mems: frozenset[int]
    capabilities: tuple[str, ...]
    cgroup_parent: str = "/onggi"
    time_namespace: bool = True
    thermal: tuple[str, ...] = ()
    log_driver: str = "json-file"
    log_options: dict[str, str] = {}
    default_ulimits: dict[str, tuple[int, int]] = {}
    seccomp_profile: str = ""


def parse_cpu_list(text: str, limit: int = 8192) -> frozenset[int]:
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
        if end < start or end >= limit:
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
    """Probe the running machine."""
    return Host(
        cpus=_read_list("/sys/devices/system/cpu/online"),
        mems=_read_list("/sys/devices/system/node/online"),
        capabilities=capabilities,
        cgroup_parent=cgroup_parent,
        time_namespace=os.path.exists("/proc/self/ns/time"),
        thermal=tuple(sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle"))),
    )
