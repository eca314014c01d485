"""The ``process`` of a config.json, compiled once for run and exec alike: one function, so no right is lost
between them.
"""

from __future__ import annotations

import resource
from typing import Any

from onggi.errors import InvalidArgument
from onggi.kernel import capabilities
from onggi.kernel.capabilities import CapSets
from onggi.runtime import scheduling
from onggi.runtime.plan import Process, Rlimit

Json = Any
_MAX_ID = 2**32 - 2  # 2^32-1 is "no change" to setresuid(2) (rule R8)


def compile_process(raw: Json, available: int, seccomp: tuple[str, int] = ("", 0)) -> Process:
    """Validate and resolve a process; capabilities that are not in ``available`` are left out."""
    args = raw.get("args") or ()
    if not args:
        raise InvalidArgument("process.args: no command specified")
    cwd = raw.get("cwd") or ""
    if not cwd.startswith("/"):
        raise InvalidArgument(f"process.cwd: {cwd!r} is not an absolute path")
    user = raw.get("user") or {}
    return Process(
        args=tuple(_text(arg, "args") for arg in args),
        env=tuple(_text(entry, "env") for entry in raw.get("env") or ()),
        cwd=_text(cwd, "cwd"),
        uid=_id(user.get("uid", 0)),
        gid=_id(user.get("gid", 0)),
        groups=tuple(_id(gid) for gid in user.get("additionalGids") or ()),
        umask=int(user.get("umask", 0o22)),
        capabilities=_capabilities(raw.get("capabilities") or {}, available),
        rlimits=tuple(_rlimit(limit) for limit in raw.get("rlimits") or ()),
        no_new_privileges=bool(raw.get("noNewPrivileges")),
        seccomp=seccomp[0],
        seccomp_flags=seccomp[1],
        oom_score_adj=_oom_score(raw.get("oomScoreAdj")),
        terminal=bool(raw.get("terminal")),
        apparmor=raw.get("apparmorProfile") or "",
        selinux=raw.get("selinuxLabel") or "",
        personality=None,
        ioprio=scheduling.parse_io_priority(raw.get("ioPriority")),
        scheduler=scheduling.parse_scheduler(raw.get("scheduler")),
    )


def _text(value: Json, field: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise InvalidArgument(f"process.{field}: {value!r} is not a string without NUL")
    return value


def _id(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_ID:
        raise InvalidArgument(f"process.user: id {value!r} is not between 0 and {_MAX_ID}")
    return value


def _oom_score(value: Json) -> int | None:
    if value is None:
        return None
    if not -1000 <= int(value) <= 1000:
        raise InvalidArgument(f"process.oomScoreAdj: {value} is not between -1000 and 1000")
    return int(value)


def _capabilities(raw: Json, available: int) -> CapSets:
    masks = {name: capabilities.mask(raw.get(name) or ()) & available for name in CapSets._fields}
    # Ambient rights outside the other sets cannot be raised; the kernel would refuse the whole.
    masks["ambient"] &= masks["permitted"] & masks["inheritable"]
    return CapSets(**masks)


def _rlimit(raw: Json) -> Rlimit:
    name = raw.get("type", "")
    number = getattr(resource, name, None) if name.startswith("RLIMIT_") else None
    if number is None:
        raise InvalidArgument(f"process.rlimits: unknown type {name!r}")
    soft, hard = int(raw.get("soft") or 0), int(raw.get("hard") or 0)
    if _limit(hard) != resource.RLIM_INFINITY and (_limit(soft) == resource.RLIM_INFINITY or soft > hard):
        raise InvalidArgument(f"process.rlimits: {name} has a soft limit over its hard limit")
    return Rlimit(number, _limit(soft), _limit(hard))


def _limit(value: int) -> int:
    return resource.RLIM_INFINITY if value < 0 or value >= 2**63 - 1 else value
