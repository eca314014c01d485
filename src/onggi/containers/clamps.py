"""What this machine will not let a container have although it was asked for: clamped, and said in the create
answer's warnings. Pure; ``runtime.identity``, ``kernel.capabilities`` and the monitor do the clamping.
"""

from __future__ import annotations

from collections.abc import Iterator

from onggi.containers.host import Host
from onggi.containers.request import HostConfig, Resources
from onggi.containers.spec_resources import rlimits
from onggi.containers.spec_security import DEFAULT_CAPABILITIES, capabilities
from onggi.kernel.cgroup_resources import LACKING

_FIELDS = {
    "MemoryLimit": "memory",
    "SwapLimit": "memory_swap",
    "MemoryReservation": "memory_reservation",
    "CPUShares": "cpu_shares",
    "CpuCfsQuota": "cpu_quota",
    "CPUSet": "cpuset_cpus",
    "PidsLimit": "pids_limit",
    "BlkioWeight": "blkio_weight",
    "BlkioWeightDevice": "blkio_weight_device",
    "MemorySwappiness": "memory_swappiness",
    "OomKillDisable": "oom_kill_disable",
}


def warnings(asked: HostConfig, machine: Host) -> list[str]:
    """One sentence for each thing that will be less than what was asked for."""
    return [
        *lacking(asked, machine),
        *_limits(asked, machine),
        *_oom_score(asked, machine),
        *_rights(asked, machine),
    ]


def lacking(asked: Resources, machine: Host) -> Iterator[str]:
    """docker's sentence for each limit that control groups do not have here; it is discarded."""
    for name, field in _FIELDS.items():
        if machine.limits is not None and name not in machine.limits and getattr(asked, field):
            yield LACKING[name]


def _limits(asked: HostConfig, machine: Host) -> Iterator[str]:
    for limit in rlimits(asked.ulimits, {}):
        most = machine.hard_limits.get(limit["type"])
        if most is not None and limit["hard"] > most:
            name = limit["type"].removeprefix("RLIMIT_").lower()
            yield f"ulimit {name}: without CAP_SYS_RESOURCE this machine allows at most {most}, which is used"


def _oom_score(asked: HostConfig, machine: Host) -> Iterator[str]:
    if asked.oom_score_adj < machine.least_oom_score_adj:
        yield (
            f"oom score adj {asked.oom_score_adj}: without CAP_SYS_RESOURCE this machine allows no less than "
            f"{machine.least_oom_score_adj}. Adjustment discarded."
        )


def _rights(asked: HostConfig, machine: Host) -> Iterator[str]:
    """docker's default set is not asked for by anybody; doctor lists what of it is missing."""
    lacking = [name for name in capabilities(asked, machine.capabilities) if name in machine.lacking]
    named = [name for name in lacking if name not in DEFAULT_CAPABILITIES]
    if named:
        yield f"this machine does not have {', '.join(named)}: the container runs without"
