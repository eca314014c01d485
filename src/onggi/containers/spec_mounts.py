"""Mounts of a container: docker's defaults, binds, ``--mount`` and tmpfs. Pure.

A ``MountPoint`` is docker's inspect entry with what the runtime needs; the caller looks at sources on the
host.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

import msgspec

from onggi.containers.request import HostConfig, Mount
from onggi.errors import InvalidArgument, Unsupported

Json = Any
_PROPAGATION = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
_MODES = frozenset(("rw", "ro", "z", "Z", "nocopy", "cached", "delegated", "consistent")) | _PROPAGATION
_TMPFS_FLAGS = frozenset(
    [
        "ro",
        "rw",
        "nodev",
        "dev",
        "noexec",
        "exec",
        "nosuid",
        "suid",
        "noatime",
        "atime",
        "nodiratime",
        "diratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "async",
        "sync",
        "dirsync",
        "remount",
        "mand",
        "nomand",
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "unbindable",
        "runbindable",
    ]
)
_TMPFS_DATA = frozenset(["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"])
# Files that lxcfs and its like provide; nothing else below /proc may be covered.
_PROC_NAMES = ("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo")
_PROC_FILES = frozenset(f"/proc/{name}" for name in _PROC_NAMES)
_TMPFS_VALUE = re.compile(r"[A-Za-z0-9%:_,=.-]+")


class MountPoint(msgspec.Struct, kw_only=True):
    """One mount that was asked for.

    ``make_source``: a missing source becomes a directory (docker's ``-v``).
    """

    type: str
    destination: str
    source: str = ""
    mode: str = ""
    writable: bool = True
    propagation: str = ""
    recursive: bool = True
    recursive_read_only: bool = True
    make_source: bool = False
    options: list[str] = []


def _clean(path: str) -> str:
    """An absolute path without ``.``, ``..`` and doubled slashes."""
    return "/" + posixpath.normpath("/" + path).lstrip("/")


def check_destination(path: str) -> str:
    """A clean destination.

    Docker's words for a relative one or ``/``, and nothing may cover /proc (CVE-2019-16884).
    """
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{path}' mount path must be absolute")
    if "\0" in path or len(path) > 4095:
        raise InvalidArgument(f"invalid mount path: '{path[:64]}'")
    clean = _clean(path)
    if clean == "/":
        raise InvalidArgument(f"invalid volume specification: '{path}': destination can't be '/'")
    if clean == "/proc" or (clean.startswith("/proc/") and clean not in _PROC_FILES):
        raise InvalidArgument(
            f'check proc-safe mount: "{clean}" cannot be mounted because it is inside /proc'
        )
    return clean


def parse_bind(text: str) -> MountPoint:
    """docker's ``source:destination[:options]``; named volumes are refused by name."""
    parts = text.split(":")
    if len(parts) < 2 or len(parts) > 3 or not parts[0] or not parts[1]:
        raise InvalidArgument(f"invalid volume specification: '{text}'")
    source, destination = parts[0], check_destination(parts[1])
    if not source.startswith("/"):
        raise Unsupported(f"volume {source}: named volumes are not supported yet")
    mode = parts[2] if len(parts) == 3 else ""
    options = mode.split(",") if mode else []
    propagation = [option for option in options if option in _PROPAGATION]
    if (
        any(option not in _MODES for option in options)
        or len(propagation) > 1
        or {"ro", "rw"} <= set(options)
    ):
        raise InvalidArgument(f"invalid mode: {mode}")
    if "nocopy" in options:
        raise InvalidArgument(f"invalid volume specification: '{text}': nocopy is for named volumes")
    if "z" in options or "Z" in options:
        raise Unsupported(f"mount option {mode}: SELinux labels are not supported yet")
    return MountPoint(
        type="bind",
        source=_clean(source),
        destination=destination,
        mode=mode,
        writable="ro" not in options,
        propagation=propagation[0] if propagation else "rprivate",
        make_source=True,
    )


def _mount_error(mount: Mount, reason: str) -> InvalidArgument:
    return InvalidArgument(f'invalid mount config for type "{mount.type}": {reason}')


def parse_mount(mount: Mount) -> MountPoint:
    """One entry of ``HostConfig.Mounts``."""
    if not mount.target:
        raise _mount_error(mount, "field Target must not be empty")
    match mount.type:
        case "bind":
            return _parse_bind_mount(mount)
        case "tmpfs":
            return _parse_tmpfs_mount(mount)
        case "volume" | "image" | "cluster" | "npipe":
            raise Unsupported(f"mount of type {mount.type} at {mount.target}: not supported yet")
        case _:
            raise _mount_error(mount, "mount type unknown")


def _parse_bind_mount(mount: Mount) -> MountPoint:
    options = mount.bind_options
    if not mount.source:
        raise _mount_error(mount, "field Source must not be empty")
    if not mount.source.startswith("/"):
        raise _mount_error(mount, f"invalid mount path: '{mount.source}' mount path must be absolute")
    propagation = (options.propagation if options else "") or "rprivate"
    if propagation not in _PROPAGATION:
        raise _mount_error(mount, f"invalid propagation mode: {propagation}")
    return MountPoint(
        type="bind",
        source=_clean(mount.source),
        destination=check_destination(mount.target),
        writable=not mount.read_only,
        propagation=propagation,
        recursive=not (options and options.non_recursive),
        recursive_read_only=not (options and options.read_only_non_recursive),
        make_source=bool(options and options.create_mountpoint),
    )


def _parse_tmpfs_mount(mount: Mount) -> MountPoint:
    if mount.source:
        raise _mount_error(mount, "field Source must not be specified")
    options = ["nosuid", "nodev", "noexec"]
    asked = mount.tmpfs_options
    if asked is not None:
        for entry in asked.options:
            if len(entry) not in (1, 2):
                raise _mount_error(mount, f"invalid option array length: {entry}")
            options = merge_tmpfs_options(options, "=".join(entry))
        if asked.size_bytes < 0:
            raise _mount_error(mount, "size must be a positive number")
        options += [f"size={asked.size_bytes}"] if asked.size_bytes else []
        options += [f"mode={asked.mode:o}"] if asked.mode else []
    if mount.read_only:
        options.append("ro")
    return MountPoint(
        type="tmpfs",
        destination=check_destination(mount.target),
        writable=not mount.read_only,
        options=options,
    )


def merge_tmpfs_options(base: list[str], text: str) -> list[str]:
    """``base`` with the options of ``text``; an option drops its opposite.

    Raises InvalidArgument in docker's words.
    """
    merged = list(base)
    for option in text.split(",") if text else []:
        key, equals, value = option.partition("=")
        known = key in _TMPFS_DATA and _TMPFS_VALUE.fullmatch(value) if equals else option in _TMPFS_FLAGS
        if not known:
            raise InvalidArgument(f'invalid tmpfs option ["{option}"]')
        opposite = option[2:] if option.startswith("no") else f"no{option}"
        opposites = {opposite, {"ro": "rw", "rw": "ro"}.get(option, "")}
        merged = [entry for entry in merged if entry not in opposites and entry != option]
        merged.append(option)
    return merged


def mount_points(host: HostConfig) -> list[MountPoint]:
    """Everything asked for, by destination; raises InvalidArgument for two at one place."""
    points = [parse_bind(text) for text in host.binds or []]
    points += [parse_mount(mount) for mount in host.mounts]
    for destination, text in (host.tmpfs or {}).items():
        options = merge_tmpfs_options(["noexec", "nosuid", "nodev"], text)
        points.append(
            MountPoint(
                type="tmpfs", destination=check_destination(destination), mode=text, options=options,
                writable="ro" not in options,
            )
        )  # fmt: skip
    seen: set[str] = set()
    for point in points:
        if point.destination in seen:
            raise InvalidArgument(f"Duplicate mount point: {point.destination}")
        seen.add(point.destination)
    return points


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
    if host.ipc_mode.startswith("container:"):
        return _mount("/dev/shm", "bind", f"/proc/{joined_pid}/root/dev/shm", "rbind,rprivate")
    return _mount("/dev/shm", "tmpfs", "shm", f"nosuid,noexec,nodev,mode=1777,size={host.shm_size}")


def point_mount(point: MountPoint) -> Json:
    """The OCI mount of one mount point."""
    if point.type == "tmpfs":
        return {
            "destination": point.destination,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": point.options,
        }
    options = ["rbind" if point.recursive else "bind", point.propagation]
    if not point.writable:
        options.append("ro")
        if point.recursive and point.recursive_read_only:
            options.append("rro")
    return {"destination": point.destination, "type": "bind", "source": point.source, "options": options}


def file_mounts(files: dict[str, str], read_only: bool) -> list[Json]:
    """Binds of the generated files, by destination (``/etc/hosts`` …) and path on the host."""
    mode = ["ro"] if read_only else []
    return [
        {
            "destination": destination,
            "type": "bind",
            "source": source,
            "options": ["rbind", "rprivate", *mode],
        }
        for destination, source in files.items()
    ]


def in_order(mounts: list[Json]) -> list[Json]:
    """Parents before children; among equals the order given.

    A later mount at a destination replaces a default.
    """
    unique = {mount["destination"]: mount for mount in mounts}
    return sorted(unique.values(), key=lambda mount: mount["destination"].rstrip("/").count("/"))


def inspect_entry(point: MountPoint) -> Json:
    """docker's ``MountPoint``."""
    return {
        "Type": point.type,
        "Source": point.source,
        "Destination": point.destination,
        "Mode": point.mode,
        "RW": point.writable,
        "Propagation": point.propagation,
    }
