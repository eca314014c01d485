"""The engine and its machine in words: bodies of GET /info and /version, in dockerd's full shape."""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from onggi.containers.validate import RUNTIMES
from onggi.daemon import doctor, machine
from onggi.daemon.birth import Birth
from onggi.daemon.config import Config
from onggi.daemon.machine import Machine
from onggi.errors import KernelError
from onggi.kernel.files import write_atomic
from onggi.logs.options import DRIVERS
from onggi.oci.platform import local
from onggi.times import rfc3339
from onggi.version import API, MINIMUM_API, VERSION, build_id

Json = Any
_LIMITS = (
    "MemoryLimit", "SwapLimit", "KernelMemoryTCP", "CpuCfsPeriod", "CpuCfsQuota", "CPUShares", "CPUSet",
    "PidsLimit", "OomKillDisable",
)  # fmt: skip
_WARNINGS = {
    "MemoryLimit": "WARNING: No memory limit support",
    "SwapLimit": "WARNING: No swap limit support",
    "CpuCfsQuota": "WARNING: No cpu cfs quota support",
    "CPUShares": "WARNING: No cpu shares support",
    "CPUSet": "WARNING: No cpuset support",
    "PidsLimit": "WARNING: No pids limit support",
}


class Counts(msgspec.Struct, frozen=True):
    """What exists now: ``containers`` by docker's keys of ``info``, ``always`` to be started after a boot."""

    containers: Mapping[str, int]
    images: int
    listeners: int
    always: int


class System:
    """Answers questions about engine and machine; ``count`` asks the services."""

    def __init__(self, config: Config, born: Birth, count: Callable[[], Awaitable[Counts]]) -> None:
        self.config, self._born, self._count = config, born, count
        self.id = engine_id(config.data_root)
        self._machine: Machine | None = None

    @property
    def machine(self) -> Machine:
        """Probed at the first question, not at every start."""
        self._machine = self._machine or machine.probe()
        return self._machine

    async def version(self) -> Json:
        """Answer of GET /version."""
        return version(self.machine, source_time())

    async def info(self) -> Json:
        """Answer of GET /info."""
        counts = await self._count()
        return {
            "ID": self.id,
            **counts.containers,
            "Images": counts.images,
            **_machine_fields(self.machine),
            **_engine_fields(self.config),
            "NFd": len(os.listdir("/proc/self/fd")),
            "NGoroutines": len(os.listdir("/proc/self/task")),
            "NEventsListener": counts.listeners,
            "SystemTime": rfc3339(time.time_ns()),
            "Warnings": warnings(self.machine) or None,
        }

    async def doctor(self) -> Json:
        """``{"Checks": [{"Group", "Name", "Status", "Detail", "Remedy"}]}``, see ``doctor.Check``."""
        counts = await self._count()
        checks = doctor.examine(self.machine, doctor.look(self.config, self._born, counts.always))
        return {"Checks": [check.as_json() for check in checks]}


def version(facts: Machine, built: str) -> Json:
    """The body of GET /version: docker's old flat fields and the newer list of components."""
    flat = {
        "Version": VERSION,
        "ApiVersion": API,
        "MinAPIVersion": MINIMUM_API,
        "GitCommit": build_id().rpartition("-")[2],
        "GoVersion": "",
        "Os": "linux",
        "Arch": local().architecture,
        "KernelVersion": facts.kernel,
        "BuildTime": built,
    }
    details = {name: value for name, value in flat.items() if name != "Version"} | {"Experimental": "false"}
    python = {"Implementation": platform.python_implementation()}
    components = [
        {"Name": "Engine", "Version": VERSION, "Details": details},
        {"Name": "onggi-runtime", "Version": VERSION, "Details": {"GitCommit": flat["GitCommit"]}},
        {"Name": "Python", "Version": platform.python_version(), "Details": python},
    ]
    return {"Platform": {"Name": "Onggi"}, "Components": components, **flat}


def warnings(facts: Machine) -> list[str]:
    """docker's warnings about limits that this machine lacks."""
    return [text for name, text in _WARNINGS.items() if not facts.limits.get(name)]


def engine_id(data_root: str) -> str:
    """The engine's identity, made once per data root."""
    path = f"{data_root}/engine-id"
    try:
        with open(path, encoding="ascii") as file:
            return str(uuid.UUID(file.read().strip()))
    except (FileNotFoundError, ValueError):
        fresh = str(uuid.uuid4())
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None
    write_atomic(path, fresh.encode() + b"\n")
    return fresh


def source_time() -> str:
    """When this build's newest room was written, as docker's BuildTime."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    newest = max(os.stat(os.path.join(package, name)).st_mtime for name in os.listdir(package))
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000000+00:00", time.gmtime(newest))


def _machine_fields(facts: Machine) -> Json:
    return {
        **{name: facts.limits.get(name, False) for name in _LIMITS},
        "CgroupVersion": "2" if facts.hierarchies.pure_v2 else "1",
        "KernelVersion": facts.kernel,
        "OperatingSystem": facts.os_name,
        "OSVersion": facts.os_version,
        "OSType": "linux",
        "Architecture": facts.architecture,
        "NCPU": facts.cpus,
        "MemTotal": facts.memory,
        "Name": facts.name,
        "IPv4Forwarding": machine.sysctl("net.ipv4.ip_forward") == "1",
    }


def _engine_fields(config: Config) -> Json:
    return {
        "Driver": config.storage_driver,
        "DriverStatus": [["Backing Filesystem", _backing(config.data_root)], ["Supports d_type", "true"]],
        "DockerRootDir": config.data_root,
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
            "Authorization": None,
            "Log": list(DRIVERS),
        },
        "Debug": config.debug,
        "LoggingDriver": config.log_driver,
        "CgroupDriver": "cgroupfs",
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": config.registries.facts(),
        "GenericResources": None,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Labels": list(config.labels),
        "ExperimentalBuild": False,
        "ServerVersion": VERSION,
        "Runtimes": {name: {"path": "onggi-runtime"} for name in RUNTIMES},
        "DefaultRuntime": "onggi",
        "Swarm": _SWARM,
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": build_id()},
        "InitCommit": {"ID": ""},
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "FirewallBackend": {"Driver": "none"},
        "CDISpecDirs": [],
    }


_SWARM = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


def _backing(path: str) -> str:
    """The file system type that holds ``path``, by the longest mount point above it."""
    from onggi.kernel.mounts import mountinfo

    real = os.path.realpath(path)
    above = [m for m in mountinfo() if real == m.target or real.startswith(m.target.rstrip("/") + "/")]
    return max(above, key=lambda m: len(m.target)).fstype if above else "unknown"
