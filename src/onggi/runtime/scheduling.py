"""Scheduling of a container's process: policy, I/O class, personality and NUMA memory policy.

Source: runtime-spec config.md#scheduler, config-linux.md#memory-policy and #personality; sched_setattr(2),
ioprio_set(2), set_mempolicy(2).
"""

from __future__ import annotations

from typing import Any

from onggi.errors import InvalidArgument
from onggi.kernel import syscalls
from onggi.runtime.plan import MemoryPolicy, Process, Scheduler

Json = Any
_POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
_IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_PERSONALITIES = {"LINUX": 0, "LINUX32": 8}
_MEMORY_MODES = {
    f"MPOL_{name}": number
    for number, name in enumerate(
        ("DEFAULT", "PREFERRED", "BIND", "INTERLEAVE", "LOCAL", "PREFERRED_MANY", "WEIGHTED_INTERLEAVE")
    )
}
_MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}
_MAX_NODE = 1023
_DEADLINE_MIN_NS = 1024  # below, the kernel's clock cannot tell


def with_linux(process: Process, linux: Json) -> Process:
    """The process with what ``linux`` says of it: personality and memory policy."""
    return process._replace(
        personality=_personality(linux.get("personality")),
        memory_policy=_memory_policy(linux.get("memoryPolicy")),
    )


def parse_scheduler(raw: Json) -> Scheduler | None:
    """``process.scheduler``; raises InvalidArgument."""
    if not raw:
        return None
    policy = _named(_POLICIES, raw.get("policy"), "process.scheduler: unsupported policy")
    flags = sum(
        _named(_FLAGS, name, "process.scheduler: unknown flag") for name in set(raw.get("flags") or ())
    )
    numbers = {name: int(raw.get(name) or 0) for name in Scheduler._fields[2:]}
    scheduler = Scheduler(policy, flags, **numbers)
    if policy == _POLICIES["SCHED_DEADLINE"]:
        _check_deadline(scheduler)
    return scheduler


def _check_deadline(scheduler: Scheduler) -> None:
    period = scheduler.period or scheduler.deadline
    if not _DEADLINE_MIN_NS <= scheduler.runtime <= scheduler.deadline <= period:
        raise InvalidArgument("process.scheduler: SCHED_DEADLINE needs 1024 <= runtime <= deadline <= period")


def parse_io_priority(raw: Json) -> int | None:
    """``process.ioPriority`` as ioprio_set(2) takes it; raises InvalidArgument."""
    if not raw:
        return None
    number = _named(_IO_CLASSES, raw.get("class"), "process.ioPriority: unknown class")
    priority = int(raw.get("priority") or 0)
    if not 0 <= priority <= 7:
        raise InvalidArgument(f"process.ioPriority: priority {priority} is not between 0 and 7")
    return number << 13 | priority


def _personality(raw: Json) -> int | None:
    if not raw:
        return None
    if raw.get("flags"):
        raise InvalidArgument("linux.personality: flags are not defined by any version of the specification")
    return _named(_PERSONALITIES, raw.get("domain"), "linux.personality: unknown domain")


def _memory_policy(raw: Json) -> MemoryPolicy | None:
    if raw is None:
        return None
    mode = _named(_MEMORY_MODES, raw.get("mode"), "linux.memoryPolicy: unknown mode")
    flags = [
        _named(_MEMORY_FLAGS, name, "linux.memoryPolicy: unknown flag") for name in raw.get("flags") or ()
    ]
    return MemoryPolicy(mode | sum(set(flags)), _nodes(raw.get("nodes") or ""))


def _nodes(text: str) -> int:
    mask = 0
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = part.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise InvalidArgument(f"linux.memoryPolicy: invalid nodes {text!r}")
        low, high = int(first), int(last or first)
        if not low <= high <= _MAX_NODE:
            raise InvalidArgument(f"linux.memoryPolicy: invalid nodes {text!r}")
        mask |= (1 << high + 1) - (1 << low)
    return mask


def _named(table: dict[str, int], name: Json, words: str) -> int:
    if name not in table:
        raise InvalidArgument(f"{words} {name!r}")
    return table[name]


def apply(process: Process) -> None:
    """Set what the process asks for on the caller; needs its rights, so it comes before they are dropped."""
    if process.personality is not None:
        syscalls.personality(process.personality)
    if process.ioprio is not None:
        syscalls.set_io_priority(process.ioprio)
    if process.memory_policy:
        syscalls.set_memory_policy(*process.memory_policy)
    if process.scheduler:
        syscalls.set_scheduler(*process.scheduler)
