"""Merge a request with its image's configuration and fill in docker's defaults. Pure.

The image's configuration is data (rule R12): only the fields named here are read from it, and labels with our
reserved prefix are dropped.
"""

from __future__ import annotations

import posixpath
from typing import Any

from onggi.containers.mount_points import image_volumes
from onggi.containers.request import (
    SHM_SIZE,
    ContainerConfig,
    CreateRequest,
    HealthConfig,
    HostConfig,
    joined,
    words,
)
from onggi.errors import InvalidArgument

Json = Any
RESERVED_PREFIX = "org.onggi."
MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def _merge_env(ours: list[str], image: list[str]) -> list[str]:
    """The request's variables, then those of the image whose names it does not give."""
    given = {entry.partition("=")[0] for entry in ours}
    return ours + [entry for entry in image if entry.partition("=")[0] not in given]


def _merge_command(config: ContainerConfig, image: Json) -> None:
    """An entrypoint in the request drops the image's command, an empty list its entrypoint, as in docker."""
    entrypoint, command = words(config.entrypoint), words(config.cmd)
    if entrypoint:
        config.cmd = command or None
        config.entrypoint = None if entrypoint == [""] else entrypoint
        return
    config.cmd = command or image.get("Cmd") or None
    if config.entrypoint is None:
        config.entrypoint = image.get("Entrypoint") or None


def _merge_health(ours: HealthConfig | None, image: Json) -> HealthConfig | None:
    if not image:
        return ours
    if ours is None:
        return HealthConfig(**{name: image[key] for name, key in _HEALTH_KEYS.items() if image.get(key)})
    for name, key in _HEALTH_KEYS.items():
        if not getattr(ours, name) and image.get(key):
            setattr(ours, name, image[key])
    return ours


_HEALTH_KEYS = dict(zip(HealthConfig.__struct_fields__, HealthConfig.__struct_encode_fields__, strict=True))


def merge_image(config: ContainerConfig, image: Json) -> None:
    """Fill ``config`` from the ``config`` object of an OCI image configuration."""
    config.env = _merge_env(config.env, image.get("Env") or [])
    _merge_command(config, image)
    config.user = config.user or image.get("User") or ""
    directory = config.working_dir or image.get("WorkingDir") or ""
    config.working_dir = posixpath.normpath(directory).replace("//", "/") if directory else ""
    config.stop_signal = config.stop_signal or image.get("StopSignal") or ""
    config.exposed_ports = {**(image.get("ExposedPorts") or {}), **config.exposed_ports}
    volumes = image_volumes(image.get("Volumes") or {}) | (config.volumes or {})
    config.volumes = volumes or None
    config.healthcheck = _merge_health(config.healthcheck, image.get("Healthcheck"))
    labels = {
        key: value
        for key, value in (image.get("Labels") or {}).items()
        if not key.startswith(RESERVED_PREFIX)
    }
    config.labels = {**labels, **config.labels}


def complete(request: CreateRequest, container_id: str, log_driver: str, machine_name: str) -> None:
    """Write docker's defaults into the request, so that ``inspect`` shows what holds."""
    config, host = request.config, request.host
    if not config.hostname and not joined(host.network_mode):
        shares = "host" in (host.network_mode, host.uts_mode)
        config.hostname = machine_name if shares else container_id[:12]
    if config.network_disabled:
        host.network_mode = "none"
    host.network_mode = "bridge" if host.network_mode in ("", "default") else host.network_mode
    host.shm_size = host.shm_size or SHM_SIZE
    host.ipc_mode = host.ipc_mode or "private"
    host.cgroupns_mode = host.cgroupns_mode or "private"
    host.runtime = host.runtime or "onggi"
    host.log_config.type = host.log_config.type or log_driver
    host.log_config.config = host.log_config.config or {}
    host.restart_policy.name = host.restart_policy.name or "no"
    _complete_ports(host)
    _complete_resources(host)
    if not host.privileged:
        host.masked_paths = list(MASKED_PATHS) if host.masked_paths is None else host.masked_paths
        host.readonly_paths = list(READONLY_PATHS) if host.readonly_paths is None else host.readonly_paths


def _complete_ports(host: HostConfig) -> None:
    """Both keys in every binding, for clients that read them; what is no object is refused with the ports."""
    for rows in host.port_bindings.values():
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict):
                row.update({key: row.get(key) or "" for key in ("HostIp", "HostPort")})


def _complete_resources(host: HostConfig) -> None:
    if host.memory > 0 and host.memory_swap == 0:
        host.memory_swap = host.memory * 2
    if host.memory_swappiness == -1:
        host.memory_swappiness = None
    if host.pids_limit is not None and host.pids_limit <= 0:
        host.pids_limit = None
    host.oom_kill_disable = bool(host.oom_kill_disable)


def command_line(config: ContainerConfig) -> list[str]:
    """Entrypoint and command; raises InvalidArgument in docker's words if there is nothing to run."""
    entrypoint = words(config.entrypoint)
    argv = ([] if entrypoint == [""] else entrypoint) + words(config.cmd)
    if not argv:
        raise InvalidArgument("no command specified")
    return argv
