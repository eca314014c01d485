"""What this machine will not let a container have although it was asked for: clamped, and said in the create
answer's warnings. Pure; ``runtime.identity``, ``kernel.capabilities`` and the monitor do the clamping.
"""

from __future__ import annotations

from collections.abc import Iterator

from onggi.containers.host import Host
from onggi.containers.request import HostConfig
from onggi.containers.spec_resources import rlimits
from onggi.containers.spec_security import DEFAULT_CAPABILITIES, capabilities


def warnings(asked: HostConfig, machine: Host) -> list[str]:
    """One sentence for each thing that will be less than what was asked for."""
    return [*_limits(asked, machine), *_oom_score(asked, machine), *_rights(asked, machine)]


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
