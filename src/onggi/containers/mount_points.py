"""What a request mounts: binds, ``--mount``, tmpfs, volumes of image and request, ``--volumes-from``. Pure.

A ``MountPoint`` is docker's inspect entry with what the runtime needs; the caller looks at sources on the
host and makes volumes.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from onggi.containers.request import BindOptions, ContainerConfig, HostConfig, Mount, VolumeOptions
from onggi.errors import InvalidArgument, Unsupported
from onggi.volumes.model import Wish

Json = Any
_PROPAGATION = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
_KINDS_OF_MODE = (
    frozenset(("rw", "ro")),
    frozenset(("z", "Z")),  # accepted as dockerd does that has no SELinux: nothing is relabelled
    _PROPAGATION,
    frozenset(("nocopy",)),
    frozenset(("cached", "delegated", "consistent")),
)
_TMPFS_FLAGS = frozenset([
    "ro", "rw", "nodev", "dev", "noexec", "exec", "nosuid", "suid", "noatime", "atime", "nodiratime",
    "diratime", "relatime", "norelatime", "strictatime", "nostrictatime", "async", "sync", "dirsync",
    "remount", "mand", "nomand", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable",
    "runbindable",
])  # fmt: skip
_TMPFS_DATA = frozenset(["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"])
# Files that lxcfs and its like provide; nothing else below /proc may be covered.
_PROC_NAMES = ("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo")
_PROC_FILES = frozenset(f"/proc/{name}" for name in _PROC_NAMES)
_TMPFS_VALUE = re.compile(r"[A-Za-z0-9%:_,=.-]+")


class MountPoint(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One mount that was asked for.

    ``make_source``: a missing source becomes a directory (docker's ``-v``). A volume has ``name`` and
    ``driver``, of an image ``name`` is what was asked for and ``source`` its id. ``copy``: an empty volume
    gets what the image has there; ``anonymous``: it goes with the container where that is wished. ``wish``
    is what the volume is to be, until it is there.
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
    name: str = ""
    driver: str = ""
    subpath: str = ""
    copy: bool = False
    anonymous: bool = False
    wish: Wish | None = None


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
        raise InvalidArgument("invalid specification: destination can't be '/'")
    if clean == "/proc" or (clean.startswith("/proc/") and clean not in _PROC_FILES):
        raise InvalidArgument(
            f'check proc-safe mount: "{clean}" cannot be mounted because it is inside /proc'
        )
    return clean


def parse_bind(text: str, volume_driver: str = "") -> MountPoint:
    """docker's ``[source:]destination[:options]``: a bind if the source is a path, else a volume."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts[:2]) or (len(parts) == 2 and _valid_mode(parts[1])):
        raise InvalidArgument(f"invalid volume specification: '{text}'")
    source, destination = parts[:2] if len(parts) > 1 else ("", parts[0])
    mode = parts[2] if len(parts) == 3 else ""
    if not _valid_mode(mode):
        raise InvalidArgument(f"invalid mode: {mode}")
    point = MountPoint(
        type="bind" if source.startswith("/") else "volume",
        destination=destination,
        mode=mode,
        writable="ro" not in mode.split(","),
    )
    try:
        return _complete_bind(point, source, volume_driver)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid volume specification: '{text}': {error}") from None


def _complete_bind(point: MountPoint, source: str, volume_driver: str) -> MountPoint:
    options = set(point.mode.split(","))
    propagation = next(iter(options & _PROPAGATION), "")
    if point.type == "bind" and "nocopy" in options:
        raise _config_error("bind", "field VolumeOptions must not be specified")
    if point.type == "volume" and propagation:
        raise _config_error("volume", "field BindOptions must not be specified")
    point.destination = _target(point.type, point.destination)
    if point.type == "bind":
        point.source, point.make_source = _clean(source), True
        point.propagation = propagation
        return point
    return _as_volume(point, Wish(name=source, driver=volume_driver), copy="nocopy" not in options)


def _valid_mode(mode: str) -> bool:
    """Each option is known, and at most one of a kind is given."""
    options = mode.split(",") if mode else []
    known = all(any(option in kind for kind in _KINDS_OF_MODE) for option in options)
    return known and all(sum(option in kind for option in options) <= 1 for kind in _KINDS_OF_MODE)


def _as_volume(point: MountPoint, wish: Wish, *, copy: bool) -> MountPoint:
    point.wish, point.copy, point.anonymous = wish, copy, not wish.name
    point.mode = point.mode or "z"  # docker's default
    return point


def volume_at(path: str, driver: str) -> MountPoint:
    """The anonymous volume of a path in ``Config.Volumes``."""
    wish = Wish(driver=driver)
    return MountPoint(
        type="volume", destination=check_destination(path), wish=wish, copy=True, anonymous=True
    )


def image_volumes(paths: Iterable[str]) -> dict[str, Json]:
    """The image's ``VOLUME`` paths, clean: ``..`` ends at the root (CVE-2022-23648), nothing covers /proc
    (CVE-2019-16884).
    """
    return {check_destination(path if path.startswith("/") else f"/{path}"): {} for path in paths}


def parse_volumes_from(text: str) -> tuple[str, bool]:
    """(container, whether its volumes stay writable) of docker's ``container[:options]``."""
    if not text:
        raise InvalidArgument("volumes-from specification cannot be an empty string")
    container, _, mode = text.partition(":")
    options = set(mode.split(","))
    if not _valid_mode(mode) or options & (_PROPAGATION | {"nocopy"}):
        raise InvalidArgument(f"invalid mode: {mode}")
    return container, "ro" not in options


def public(points: Iterable[MountPoint], host: HostConfig) -> list[MountPoint]:
    """Those that inspect lists and ``--volumes-from`` hands on: as docker's, all but ``HostConfig.Tmpfs``."""
    private = {check_destination(destination) for destination in host.tmpfs or {}}
    return [point for point in points if point.type != "tmpfs" or point.destination not in private]


def inherited(point: MountPoint, writable: bool) -> MountPoint:
    """A mount of another container in this one; whatever the image has there, nothing is copied."""
    return msgspec.structs.replace(point, mode="", writable=point.writable and writable, copy=False)


def _config_error(kind: str, reason: str) -> InvalidArgument:
    return InvalidArgument(f'invalid mount config for type "{kind}": {reason}')


def _mount_error(mount: Mount, reason: str) -> InvalidArgument:
    return _config_error(mount.type, reason)


def _target(kind: str, path: str) -> str:
    try:
        return check_destination(path)
    except InvalidArgument as error:
        raise _config_error(kind, str(error)) from None


def parse_mount(mount: Mount) -> MountPoint:
    """One entry of ``HostConfig.Mounts``."""
    for kind in ("bind", "volume", "image", "tmpfs"):
        if mount.type != kind and getattr(mount, f"{kind}_options") is not None:
            raise _mount_error(mount, f"field {kind.title()}Options must not be specified")
    if not mount.target:
        raise _mount_error(mount, "field Target must not be empty")
    match mount.type:
        case "bind":
            return _parse_bind_mount(mount)
        case "tmpfs":
            return _parse_tmpfs_mount(mount)
        case "volume":
            return _parse_volume_mount(mount)
        case "image":
            return _parse_image_mount(mount)
        case "cluster" | "npipe":
            raise Unsupported(f"mount of type {mount.type} at {mount.target}: not supported by this engine")
        case _:
            raise _mount_error(mount, "mount type unknown")


def _parse_bind_mount(mount: Mount) -> MountPoint:
    options = mount.bind_options or BindOptions()
    if not mount.source:
        raise _mount_error(mount, "field Source must not be empty")
    if not mount.source.startswith("/"):
        raise _mount_error(mount, f"invalid mount path: '{mount.source}' mount path must be absolute")
    propagation = options.propagation
    if propagation and propagation not in _PROPAGATION:
        raise _mount_error(mount, f"invalid propagation mode: {propagation}")
    _check_recursion(mount)
    return MountPoint(
        type="bind",
        source=_clean(mount.source),
        destination=_target("bind", mount.target),
        writable=not mount.read_only,
        propagation=propagation,
        recursive=not options.non_recursive,
        recursive_read_only=not options.read_only_non_recursive,
        make_source=options.create_mountpoint,
    )


def _check_recursion(mount: Mount) -> None:
    """Recursively read-only is what a read-only bind is here anyway; the rest are docker's conflicts."""
    options = mount.bind_options or BindOptions()
    asked = ["ReadOnlyNonRecursive"] if options.read_only_non_recursive else []
    asked += ["ReadOnlyForceRecursive"] if options.read_only_force_recursive else []
    if asked and not mount.read_only:
        raise InvalidArgument(f"mount options conflict: !ReadOnly && BindOptions.{asked[0]}")
    if len(asked) > 1:
        raise InvalidArgument(
            "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"
        )


def _parse_volume_mount(mount: Mount) -> MountPoint:
    options = mount.volume_options or VolumeOptions()
    driver = options.driver_config
    if options.subpath and not mount.source:
        raise _mount_error(mount, "must not set Subpath when using anonymous volumes")
    wish = Wish(
        name=mount.source,
        driver=driver.name if driver else "",
        labels=options.labels,
        options=driver.options if driver else None,
    )
    point = MountPoint(
        type="volume",
        destination=_target("volume", mount.target),
        writable=not mount.read_only,
        subpath=_local(mount, options.subpath),
    )
    return _as_volume(point, wish, copy=not options.no_copy)


def _parse_image_mount(mount: Mount) -> MountPoint:
    if not mount.source:
        raise _mount_error(mount, "field Source must not be empty")
    return MountPoint(
        type="image",
        name=mount.source,
        destination=_target("image", mount.target),
        writable=False,
        propagation="rprivate",
        subpath=_local(mount, mount.image_options.subpath if mount.image_options else ""),
    )


def _local(mount: Mount, subpath: str) -> str:
    """A path that does not leave where it begins, clean; links in it are for the kernel to resolve."""
    clean = posixpath.normpath(subpath) if subpath else ""
    if clean.startswith("/") or clean.split("/")[0] == ".." or "\0" in clean:
        raise _mount_error(mount, "subpath must be a relative path within the volume")
    return "" if clean == "." else clean


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
        destination=_target("tmpfs", mount.target),
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
            raise InvalidArgument(f'invalid tmpfs option "{option}"')
        opposite = option[2:] if option.startswith("no") else f"no{option}"
        opposites = {opposite, {"ro": "rw", "rw": "ro"}.get(option, "")}
        merged = [entry for entry in merged if entry not in opposites and entry != option]
        merged.append(option)
    return merged


def _propagation(point: MountPoint, data_root: str) -> str:
    """What was asked for, or the default. A bind with the data root in it, or of what is in there, must not
    hold mounts that the machine unmounts. Raises InvalidArgument.
    """
    if posixpath.commonpath((data_root, point.source)) not in (data_root, point.source):
        return point.propagation or "rprivate"
    if point.propagation in ("", "rslave", "rshared"):
        return point.propagation or "rslave"
    raise InvalidArgument(
        'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is '
        f'within the daemon root, daemon root: "{data_root}", bind mount source: "{point.source}", '
        f'propagation: "{point.propagation}"'
    )


def mount_points(host: HostConfig, data_root: str) -> list[MountPoint]:
    """Everything asked for, by destination; raises InvalidArgument for two at one place."""
    points = [parse_bind(text, host.volume_driver) for text in host.binds or []]
    points += [parse_mount(mount) for mount in host.mounts]
    for point in points:
        if point.type == "bind":
            point.propagation = _propagation(point, data_root)
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


def all_points(
    config: ContainerConfig, host: HostConfig, foreign: Iterable[MountPoint], data_root: str
) -> list[MountPoint]:
    """Everything that will be mounted: ``foreign`` ones (``--volumes-from``) where nothing else is asked for,
    what is asked for, and volumes of ``Config.Volumes`` where there is neither.
    """
    own = mount_points(host, data_root)
    theirs = {point.destination: point for point in foreign}
    for point in own:
        theirs.pop(point.destination, None)
    points = [*theirs.values(), *own]
    covered = {point.destination for point in points}
    volumes = [volume_at(path, host.volume_driver) for path in config.volumes or {}]
    return points + [point for point in volumes if point.destination not in covered]
