"""What can be asked about containers: inspect, stats, top, and the shapes that docker gives the answers."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import msgspec

from onggi.containers import files, links, processes
from onggi.containers.context import Context
from onggi.containers.merge import command_line
from onggi.containers.model import Container, Health
from onggi.containers.networking import Networking
from onggi.containers.spec_mounts import inspect_entries
from onggi.errors import OnggiError
from onggi.kernel.cgroup_stats import system_cpu
from onggi.logs.files import log_path
from onggi.times import ZERO, rfc3339, rfc3339_or_zero

Json = Any
_builtins = msgspec.to_builtins
_NO_CPU: Json = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}


class Queries:
    """Reads; changes nothing."""

    def __init__(self, context: Context, networking: Networking) -> None:
        self._context, self._networking = context, networking

    async def inspect(self, ref: str, size: bool = False) -> Json:
        """docker's ``ContainerInspectResponse``."""
        container = self._context.find(ref)
        with contextlib.suppress(OnggiError):  # an image that is gone leaves nothing to say of layers
            await self._context.rootfs(container)  # of a container that an earlier engine made
        answer = self._inspect(container)
        if size:
            answer |= await self.sizes(container)
        return answer

    async def sizes(self, container: Container) -> Json:
        """``SizeRw`` and ``SizeRootFs`` in bytes."""
        if container.spec.host_config.rootfs_directory:
            return {"SizeRw": 0, "SizeRootFs": 0}
        written = await self._context.snapshots.usage(container.id)
        try:
            image = await self._context.images.get(container.spec.image_id)
        except OnggiError:
            return {"SizeRw": written, "SizeRootFs": written}
        return {"SizeRw": written, "SizeRootFs": written + image.size}

    def _inspect(self, container: Container) -> Json:
        spec = container.spec
        argv = command_line(spec.config)
        paths = files.paths(self._context.directory(container.id))
        return {
            "Id": container.id,
            "Created": rfc3339_or_zero(container.created_ns),
            "Path": argv[0],
            "Args": argv[1:],
            "State": _state(container),
            "Image": spec.image_id,
            "ResolvConfPath": paths["/etc/resolv.conf"],
            "HostnamePath": paths["/etc/hostname"],
            "HostsPath": paths["/etc/hosts"],
            "LogPath": _log_path(container),
            "Name": f"/{container.name}",
            "RestartCount": container.restarts,
            "Driver": self._context.host.storage_driver,
            "Platform": spec.platform,
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": list(container.execs) or None,
            "HostConfig": host_config(container) | {"Links": self._links(container)},
            "GraphDriver": self._graph_driver(container),
            "Mounts": inspect_entries(spec.mounts, spec.host_config),
            "Config": _config(container),
            "NetworkSettings": self._networking.settings(container),
        }

    def _links(self, container: Container) -> list[str] | None:
        found = self._networking.links.children(container)
        shown = {alias: other.name for alias, other in found.items()} | links.lost(container, found)
        return [f"/{name}:/{container.name}/{alias}" for alias, name in shown.items()] or None

    def _graph_driver(self, container: Container) -> Json:
        rootfs, data = container.rootfs, None
        if rootfs and rootfs.kind == "overlay":
            root = rootfs.overlays[0]
            data = {
                "ID": container.id,
                "LowerDir": ":".join(root.lowers),
                "UpperDir": root.upper or "",
                "WorkDir": root.work or "",
            }
        return {"Name": self._context.host.storage_driver, "Data": data}

    async def top(self, ref: str, ps_args: str = "-ef") -> Json:
        """docker's ``ContainerTopResponse``."""
        container = self._context.find(ref)
        container.require_alive()
        answer = await self._context.runtime.call(container.id, "pids", {})
        self._context.publish(container, "top")
        return processes.table([int(pid) for pid in answer["pids"]], ps_args)

    async def stats(self, ref: str) -> Json:
        """One sample in docker's shape; a container that is down has zeros.

        ``precpu_stats`` is the caller's.
        """
        container = self._context.find(ref)
        sample: Json = {}
        if container.alive:
            sample = await self._context.runtime.call(container.id, "stats", {})
            system_ns, cpus = system_cpu()
            sample["cpu_stats"] |= {"system_cpu_usage": system_ns, "online_cpus": cpus}
        sample |= await self._networking.counters(container)
        return {
            "name": f"/{container.name}",
            "id": container.id,
            "read": rfc3339(time.time_ns()) if container.alive else ZERO,
            "preread": ZERO,
            "pids_stats": {},
            "blkio_stats": {},
            "num_procs": 0,
            "storage_stats": {},
            "cpu_stats": _NO_CPU,
            "precpu_stats": _NO_CPU,
            "memory_stats": {},
            **sample,
        }


def _state(container: Container) -> Json:
    state = container.state
    answer = {
        "Status": container.status,
        "Running": state.running,
        "Paused": state.paused,
        "Restarting": state.restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.dead,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": rfc3339_or_zero(state.started_ns),
        "FinishedAt": rfc3339_or_zero(state.finished_ns),
    }
    if state.log_errors:
        answer["OnggiLogErrors"] = state.log_errors
    if state.health is not None:
        answer["Health"] = _health(state.health)
    return answer


def _health(health: Health) -> Json:
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": rfc3339_or_zero(result.start_ns),
                "End": rfc3339_or_zero(result.end_ns),
                "ExitCode": result.exit_code,
                "Output": result.output,
            }
            for result in health.log
        ],
    }


# docker leaves these out of an answer when they are empty, those of _OMIT_ABSENT when they were not given.
_OMIT_ABSENT = frozenset(["Init", "Healthcheck", "StopTimeout"])
_OMIT_EMPTY = frozenset([
    "Annotations", "StorageOpt", "Tmpfs", "Sysctls", "KernelMemory", "KernelMemoryTCP", "Mounts",
    "OnggiHostShow", "OnggiRootfs",
])  # fmt: skip
_OMIT_CONFIG = frozenset([
    "ArgsEscaped", "NetworkDisabled", "MacAddress", "Shell", "StopSignal", "ExposedPorts",
])  # fmt: skip


def host_config(container: Container) -> Json:
    """docker's ``HostConfig`` with every key."""
    answer = _builtins(container.spec.host_config)
    return _shown(answer, _OMIT_EMPTY)


def _config(container: Container) -> Json:
    answer = _builtins(container.spec.config)
    answer["Env"] = answer["Env"] or None
    for key in ("Cmd", "Entrypoint"):
        if isinstance(answer[key], str):
            answer[key] = [answer[key]]
    return _shown(answer, _OMIT_CONFIG)


def _shown(answer: Json, omit_empty: frozenset[str]) -> Json:
    return {
        key: value
        for key, value in answer.items()
        if not ((key in omit_empty and not value) or (key in _OMIT_ABSENT and value is None))
    }


def _log_path(container: Container) -> str:
    driver = container.spec.host_config.log_config.type
    return log_path(driver, container.spec.log_directory) if driver == "json-file" else ""
