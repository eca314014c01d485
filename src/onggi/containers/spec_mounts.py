"""Mounts of a container as OCI mounts: docker's defaults, generated files, and what was asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from onggi.containers.mount_points import MountPoint, public
from onggi.containers.request import HostConfig, joined
from onggi.volumes.options import Source, told

Json = Any


def _mount(destination: str, kind: str, source: str, options: str) -> Json:
    return {"destination": destination, "type": kind, "source": source, "options": options.split(",")}


def default_mounts(host: HostConfig, *, writable_cgroups: bool) -> list[Json]:
    """docker's own mounts in their order."""
    system = "rw" if host.privileged else "ro"
    cgroup = "rw" if host.privileged or writable_cgroups else "ro"
    return [
        _mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        _mount("/sys", "sysfs", "sysfs", f"nosuid,noexec,nodev,{system}"),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", f"{cgroup},nosuid,noexec,nodev"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
    ]


def shm_mount(host: HostConfig, joined_pid: int) -> Json | None:
    """/dev/shm by ipc mode: own, the host's, that of another container (``joined_pid``), or none."""
    if host.ipc_mode == "none":
        return None
    if host.ipc_mode == "host":
        return _mount("/dev/shm", "bind", "/dev/shm", "rbind,rprivate")
    if joined(host.ipc_mode):
        return _mount("/dev/shm", "bind", f"/proc/{joined_pid}/root/dev/shm", "rbind,rprivate")
    return _mount("/dev/shm", "tmpfs", "shm", f"nosuid,noexec,nodev,mode=1777,size={host.shm_size}")


def point_mounts(points: Iterable[MountPoint], sources: Mapping[str, Source]) -> list[Json]:
    """The OCI mounts of mount points; ``sources`` says by destination what is mounted there where that is not
    the point's own source.

    Beyond the specification they may say ``subpath``, and ``made``: what is mounted for this container alone.
    """
    return [_point_mount(point, sources.get(point.destination) or Source(point.source)) for point in points]


def _point_mount(point: MountPoint, source: Source) -> Json:
    if point.type == "tmpfs":
        return {**_mount(point.destination, "tmpfs", "tmpfs", ""), "options": point.options}
    recursive = point.recursive and source.recursive
    options = ["rbind" if recursive else "bind", point.propagation or "rprivate"]
    mount: Json = {"destination": point.destination, "type": "bind", "source": source.device}
    if source.fstype or source.lowers:
        made = {"options": list(source.options), "lowers": list(source.lowers)}
        mount["made"] = {"type": source.fstype, **made, "what": told(source) if source.fstype else ""}
        options = ["bind"]
    else:
        options += source.options
    if not point.writable:
        options.append("ro")
        if recursive and point.recursive_read_only:
            options.append("rro")
    return {**mount, "options": options, **({"subpath": point.subpath} if point.subpath else {})}


def file_mounts(files: dict[str, str], read_only: bool) -> list[Json]:
    """Binds of the generated files, by destination (``/etc/hosts`` …) and path on the host."""
    options = "rbind,rprivate,ro" if read_only else "rbind,rprivate"
    return [_mount(destination, "bind", source, options) for destination, source in files.items()]


def in_order(mounts: list[Json]) -> list[Json]:
    """Parents before children; among equals the order given.

    A later mount at a destination replaces a default.
    """
    unique = {mount["destination"]: mount for mount in mounts}
    return sorted(unique.values(), key=lambda mount: mount["destination"].rstrip("/").count("/"))


def inspect_entries(points: Iterable[MountPoint], host: HostConfig) -> list[Json]:
    """docker's ``Mounts``."""
    return [_entry(point) for point in public(points, host)]


def _entry(point: MountPoint) -> Json:
    return {
        "Type": point.type,
        **({"Name": point.name} if point.name else {}),
        "Source": point.source,
        "Destination": point.destination,
        **({"Driver": point.driver} if point.driver else {}),
        "Mode": point.mode,
        "RW": point.writable,
        "Propagation": point.propagation,
    }
