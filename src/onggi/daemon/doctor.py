"""What this machine can and cannot do, and the remedy. ``look`` gathers facts, ``examine`` is pure."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Literal

import msgspec

from onggi.daemon import install, machine
from onggi.daemon.birth import Birth
from onggi.daemon.config import Config
from onggi.daemon.kernel_fixes import missing_fixes
from onggi.daemon.machine import Machine
from onggi.kernel.capabilities import NAMES
from onggi.kernel.features import MINIMUM

Status = Literal["ok", "limited", "missing", "note"]
_CAPABILITY_USES = {
    "CAP_SYS_RESOURCE": "hard limits cannot be raised (--ulimit), oom scores not lowered: both are clamped",
    "CAP_SYS_ADMIN": "no container can be started",
    "CAP_NET_ADMIN": "containers have no network, not even a loopback",
    "CAP_MKNOD": "devices are bind-mounted instead of made",
    "CAP_SETFCAP": "images with file capabilities cannot be imported",
}
# Field of kernel.features, its name, the kernel that brought it, what is done without it.
_KERNEL_USES = (
    ("mount_setattr", "mount attributes of whole trees", "5.12", "read-only binds are remounted one by one"),
    ("cgroup_kill", "cgroup.kill", "5.14", "groups are frozen and killed one by one"),
    ("overlay_append", "overlay layers one by one", "6.7", "option strings limit the number of layers"),
    ("time_namespace", "time namespaces", "5.6", "containers see the machine's uptime"),
    ("cgroup_namespace", "cgroup namespaces", "4.6", "containers see their path in /proc/self/cgroup"),
)
_LIMITS = {
    "MemoryLimit": ("--memory", "memory"),
    "SwapLimit": ("--memory-swap", "memory"),
    "MemoryReservation": ("--memory-reservation", "memory"),
    "CpuCfsQuota": ("--cpus", "cpu"),
    "CPUShares": ("--cpu-shares", "cpu"),
    "CPUSet": ("--cpuset-cpus", "cpuset"),
    "PidsLimit": ("--pids-limit", "pids"),
    "BlkioWeight": ("--blkio-weight", "blkio"),
    "BlkioReadBpsDevice": ("--device-read-bps", "blkio"),
    "Devices": ("--device", "devices"),
}


class Check(msgspec.Struct, frozen=True, rename="pascal"):
    """One finding; ``remedy`` is empty where there is nothing to do."""

    group: str
    name: str
    status: Status
    detail: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """docker-like field names."""
        found: dict[str, str] = msgspec.to_builtins(self)
        return found


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Facts beyond the machine's: of programs, settings and this engine."""

    libseccomp: bool = True
    nft: bool = True
    max_user_namespaces: str = ""
    apparmor_restricts: bool = False
    lsm: frozenset[str] = frozenset()
    birth_failures: tuple[str, ...] = ()
    hard_limits: dict[str, int] = {}
    always: int = 0
    boots: bool = False
    data_root: str = ""
    free_bytes: int = 1 << 40
    python: tuple[int, int] = (3, 11)


def look(config: Config, born: Birth, always: int) -> Findings:
    """Gather what ``examine`` needs."""
    disk = os.statvfs(config.data_root)
    return Findings(
        libseccomp=machine.has_libseccomp(),
        nft=shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin") is not None,
        max_user_namespaces=machine.sysctl("user.max_user_namespaces"),
        apparmor_restricts=machine.sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1",
        lsm=machine.lsm(),
        birth_failures=born.failures,
        hard_limits={name: hard for name, (_, hard) in born.rlimits.items() if hard >= 0},
        always=always,
        boots=install.installed(),
        data_root=config.data_root,
        free_bytes=disk.f_bavail * disk.f_frsize,
        python=sys.version_info[:2],
    )


def examine(facts: Machine, found: Findings) -> list[Check]:
    """All checks, group by group."""
    machine_parts = (_kernel(facts), _rights(facts, found), _cgroups(facts), _storage(facts, found))
    return [check for part in (*machine_parts, _security(found), _engine(found)) for check in part]


def _kernel(facts: Machine) -> Iterator[Check]:
    enough = facts.features.kernel >= MINIMUM
    wanted = ".".join(map(str, MINIMUM))
    remedy = f"boot Linux {wanted} or newer"
    yield _verdict(enough, "kernel", "version", facts.kernel, remedy)
    for field, name, since, otherwise in _KERNEL_USES:
        present = getattr(facts.features, field)
        if present:
            yield Check("kernel", name, "ok", "available")
        else:
            yield Check("kernel", name, "limited", otherwise, f"boot Linux {since} or newer")
    for fix in missing_fixes(facts.kernel, facts.kernel_build):
        yield Check("kernel", fix.cve, "limited", fix.what, f"upgrade the kernel to {fix.fixed_in} or newer")


def _rights(facts: Machine, found: Findings) -> Iterator[Check]:
    lacking = [name for name in NAMES if name not in facts.capabilities]
    remedy = "run the engine outside of the container or service that takes it away"
    for name in lacking:
        detail = _CAPABILITY_USES.get(name, "containers cannot be given it (--cap-add, --privileged)")
        yield Check("rights", name, "missing" if name == "CAP_SYS_ADMIN" else "limited", detail, remedy)
    if "CAP_SYS_RESOURCE" in lacking and found.hard_limits:
        most = [
            f"{name.removeprefix('RLIMIT_').lower()}={hard}"
            for name, hard in sorted(found.hard_limits.items())
        ]
        yield Check("rights", "--ulimit", "limited", f"at most {', '.join(most)}", remedy)
    if not lacking:
        yield Check("rights", "capabilities", "ok", "all")
    for failure in found.birth_failures:
        yield Check("rights", "birth of the engine", "limited", failure, "give the engine the right")


def _cgroups(facts: Machine) -> Iterator[Check]:
    mounts = facts.hierarchies.mounts
    versions = {mount.version for mount in mounts}
    kind = " and ".join(f"v{version}" for version in sorted(versions)) or "none mounted"
    yield _verdict(bool(mounts), "limits", "control groups", kind, "mount the cgroup file systems")
    for name, (flag, controller) in _LIMITS.items():
        if facts.limits.get(name):
            yield Check("limits", flag, "ok", f"controller {controller}")
        else:
            remedy = f"enable the {controller} controller (kernel configuration or command line)"
            if name == "SwapLimit":
                remedy = "add swapaccount=1 to the kernel's command line"
            yield Check("limits", flag, "missing", f"the {controller} controller lacks it", remedy)


def _storage(facts: Machine, found: Findings) -> Iterator[Check]:
    overlay = "overlay" in facts.filesystems
    yield _verdict(overlay, "storage", "overlay", "file system of containers", "modprobe overlay")
    free = f"{found.free_bytes / 1e9:.1f} GB free in {found.data_root}"
    enough = found.free_bytes > 1_000_000_000
    remedy = "free space, or move the data root (--data-root)"
    yield _verdict(enough, "storage", "space", free, remedy, "limited")
    live = "the host image is a live view: later changes of the machine may appear in its containers"
    yield Check("storage", "host image", "note", live)


def _security(found: Findings) -> Iterator[Check]:
    if found.libseccomp:
        yield Check("security", "seccomp", "ok", "profiles are compiled by libseccomp")
    else:
        lacking = "containers are refused unless they ask for seccomp=unconfined"
        yield Check("security", "seccomp", "missing", lacking, "apt install libseccomp2")
    if found.max_user_namespaces in ("", "0"):
        remedy = "sysctl user.max_user_namespaces=15000"
        yield Check("security", "user namespaces", "missing", "switched off", remedy)
    elif found.apparmor_restricts:
        detail = "restricted by AppArmor for ordinary users; root's engine is not concerned"
        yield Check("security", "user namespaces", "limited", detail)
    else:
        yield Check("security", "user namespaces", "ok", f"at most {found.max_user_namespaces}")
    modules = sorted(found.lsm & {"apparmor", "selinux"})
    detail = "none active"
    if modules:
        detail = f"{', '.join(modules)} active; containers get no profile of their own"
    yield Check("security", "AppArmor, SELinux", "note", detail)


def _engine(found: Findings) -> Iterator[Check]:
    python = ".".join(map(str, found.python))
    yield Check("engine", "python", "ok", python)
    detail = "networks of containers need it; --network host and none do not"
    yield _verdict(found.nft, "engine", "nft", detail, "apt install nftables", "limited")
    if found.always and not found.boots:
        detail = f"{found.always} container(s) with a restart policy will not be started after a boot"
        yield Check("engine", "start at boot", "missing", detail, "onggi daemon --install")
    else:
        detail = "installed" if found.boots else "not installed"
        yield Check("engine", "start at boot", "ok" if found.boots else "note", detail)


def _verdict(
    good: bool, group: str, name: str, detail: str, remedy: str, otherwise: Status = "missing"
) -> Check:
    return Check(group, name, "ok" if good else otherwise, detail, "" if good else remedy)
