"""Device nodes and links of /dev (runtime-spec config-linux.md#default-devices, runtime-linux.md#dev-
symbolic-links).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onggi.errors import InvalidArgument
from onggi.runtime.plan import Device, Op, Symlink

Json = Any
_DEFAULT = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/core", "/proc/kcore"),
)
_KINDS = {"c": "c", "u": "c", "b": "b", "p": "p"}


def device_ops(devices: Sequence[Json]) -> list[Op]:
    """Nodes asked for, the default ones that were not, and the usual links."""
    asked = [_device(device) for device in devices]
    names = {device.path for device in asked}
    default = [Device(f"/dev/{n}", "c", major, minor, 0o666, 0, 0) for n, major, minor in _DEFAULT]
    return [
        *(device for device in default if device.path not in names),
        *asked,
        *(Symlink(path, target) for path, target in _LINKS if path not in names),
    ]


def _device(raw: Json) -> Device:
    kind, path = _KINDS.get(raw.get("type", "")), raw.get("path") or ""
    if kind is None or not path.startswith("/"):
        raise InvalidArgument(f"linux.devices: {raw.get('path')!r} has type {raw.get('type')!r}")
    mode = raw.get("fileMode")
    numbers = (
        int(raw.get("major", 0)),
        int(raw.get("minor", 0)),
        0o666 if mode is None else int(mode) & 0o7777,
    )
    return Device(path, kind, *numbers, int(raw.get("uid") or 0), int(raw.get("gid") or 0))
