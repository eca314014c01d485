"""Data of ``spec`` and ``features``: an example configuration, and what seccomp filters may say."""

from __future__ import annotations

from typing import Any

Json = Any
_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_STRICT = ["nosuid", "noexec", "nodev"]
_MOUNTS: tuple[tuple[str, str, list[str]], ...] = (
    ("/proc", "proc", _STRICT),
    ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", [*_STRICT, "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", _STRICT),
    ("/sys", "sysfs", [*_STRICT, "ro"]),
    ("/sys/fs/cgroup", "cgroup", [*_STRICT, "relatime", "ro"]),
)
_MASKED = (
    "acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats"  # below /proc
)
_READ_ONLY = "bus fs irq sys sysrq-trigger"

SECCOMP: Json = {
    "actions": [
        f"SCMP_ACT_{name}"
        for name in ("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRACE", "TRAP")
    ],
    "operators": [f"SCMP_CMP_{name}" for name in ("EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE")],
    "archs": [f"SCMP_ARCH_{name}" for name in ("AARCH64", "ARM", "X32", "X86", "X86_64")],
    "knownFlags": [f"SECCOMP_FILTER_FLAG_{name}" for name in ("LOG", "SPEC_ALLOW", "TSYNC")],
    "supportedFlags": [f"SECCOMP_FILTER_FLAG_{name}" for name in ("LOG", "SPEC_ALLOW", "TSYNC")],
}


def config(version: str) -> Json:
    """A configuration that runs ``sh`` from ``rootfs`` on the caller's terminal, with few rights."""
    return {
        "ociVersion": version,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "onggi",
        "mounts": [
            {"destination": path, "type": kind, "source": kind, "options": options}
            for path, kind, options in _MOUNTS
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": n} for n in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": [*(f"/proc/{name}" for name in _MASKED.split()), "/sys/firmware"],
            "readonlyPaths": [f"/proc/{name}" for name in _READ_ONLY.split()],
        },
    }
