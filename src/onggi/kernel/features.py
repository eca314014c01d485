"""What this kernel can do, probed once and passed as data to the compilers of plans."""

from __future__ import annotations

import os
from typing import NamedTuple

from onggi.kernel import syscalls

MINIMUM = (5, 10)


class Features(NamedTuple):
    """Each field names a use; tests mask fields to walk the fallbacks."""

    kernel: tuple[int, int]
    machine: str
    overlay_append: bool  # lowerdir+, 6.7
    mount_setattr: bool  # 5.12
    cgroup_kill: bool  # 5.14
    time_namespace: bool  # 5.6
    cgroup_namespace: bool
    capabilities: int  # effective set of the caller: "root without X" is data, not a guess by uid


def probe() -> Features:
    """Probe the running kernel."""
    kernel = parse_release(os.uname().release)
    return Features(
        kernel=kernel,
        machine=os.uname().machine,
        overlay_append=kernel >= (6, 7),
        mount_setattr=kernel >= (5, 12),
        cgroup_kill=kernel >= (5, 14),
        time_namespace=os.path.exists("/proc/self/ns/time"),
        cgroup_namespace=os.path.exists("/proc/self/ns/cgroup"),
        capabilities=syscalls.capget().effective,
    )


def parse_release(release: str) -> tuple[int, int]:
    """The version of a kernel release such as ``6.1.0-13-amd64``."""
    major, _, rest = release.partition(".")
    minor = "".join(character if character.isdigit() else " " for character in rest).split()
    return int(major), int(minor[0]) if minor else 0
