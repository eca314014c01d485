"""Facts about the machine, read once when somebody asks; each reader knows its file's format."""

from __future__ import annotations

import os

import msgspec

from onggi.kernel import capabilities, cgroups, features
from onggi.kernel.cgroups import Hierarchies
from onggi.kernel.features import Features


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Memory in bytes; ``limits`` are docker's names of cgroup limits -> whether this machine has them."""

    name: str
    kernel: str
    kernel_build: str
    architecture: str
    os_name: str
    os_version: str
    cpus: int
    memory: int
    hierarchies: Hierarchies
    limits: dict[str, bool]
    features: Features
    capabilities: frozenset[str]
    filesystems: frozenset[str]


def probe() -> Machine:
    """Read everything."""
    uname, release = os.uname(), parse_os_release(_read("/etc/os-release") or _read("/usr/lib/os-release"))
    hierarchies = cgroups.detect()
    own = capabilities.current().bounding
    return Machine(
        name=uname.nodename,
        kernel=uname.release,
        kernel_build=uname.version,
        architecture=uname.machine,
        os_name=release.get("PRETTY_NAME", "Linux"),
        os_version=release.get("VERSION_ID", ""),
        cpus=len(os.sched_getaffinity(0)),
        memory=parse_meminfo(_read("/proc/meminfo")).get("MemTotal", 0),
        hierarchies=hierarchies,
        limits=cgroups.available(hierarchies),
        features=features.probe(),
        capabilities=frozenset(name for bit, name in enumerate(capabilities.NAMES) if own >> bit & 1),
        filesystems=frozenset(_read("/proc/filesystems").split()),
    )


def parse_os_release(text: str) -> dict[str, str]:
    """os-release(5): NAME="value" lines."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name: value.strip().strip("\"'") for name, _, value in pairs}


def parse_meminfo(text: str) -> dict[str, int]:
    """proc_meminfo(5) -> bytes."""
    fields = (line.replace(":", " ").split() for line in text.splitlines())
    return {words[0]: int(words[1]) * 1024 for words in fields if len(words) >= 2 and words[1].isdigit()}


def sysctl(name: str) -> str:
    """A kernel parameter by its dotted name; empty where the kernel has none."""
    return _read("/proc/sys/" + name.replace(".", "/")).strip()


def lsm() -> frozenset[str]:
    """Linux security modules in force."""
    return frozenset(_read("/sys/kernel/security/lsm").strip().split(",")) - {""}


def has_libseccomp() -> bool:
    """Whether seccomp profiles can be compiled here."""
    from onggi.errors import OnggiError
    from onggi.kernel import seccomp

    try:
        seccomp.compile_oci({"defaultAction": "SCMP_ACT_ALLOW"})
    except (OnggiError, OSError):
        return False
    return True


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""
