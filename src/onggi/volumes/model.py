"""A volume as the engine knows it, and docker's shape of it."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

import msgspec

from onggi.errors import InvalidArgument

Json = Any
LOCAL = "local"
ANONYMOUS = "com.docker.volume.anonymous"  # docker's label of volumes whose name was made up
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_LONGEST = 255


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """One row. ``labels`` and ``options`` are None, not empty, where none were given, as in docker."""

    name: str
    created_ns: int
    labels: dict[str, str] | None = None
    options: dict[str, str] | None = None
    driver: str = LOCAL


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants a volume to be. An empty name, or driver, is for us to choose."""

    name: str = ""
    driver: str = ""
    labels: dict[str, str] | None = None
    options: dict[str, str] | None = None


def make(wish: Wish) -> Volume:
    """A new volume, created now."""
    labels = dict(wish.labels or {})
    if not wish.name:
        labels[ANONYMOUS] = ""
    return Volume(
        name=wish.name or secrets.token_hex(32),
        created_ns=time.time_ns(),
        labels=labels or None,
        options=dict(wish.options) if wish.options else None,
    )


def is_name(name: str) -> bool:
    """Whether a volume can have the name."""
    return 1 < len(name) <= _LONGEST and _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raise InvalidArgument in docker's words for what cannot be a volume's name."""
    if len(name) == 1:
        raise InvalidArgument(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not is_name(name) and len(name) <= _LONGEST:
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute '
            "path"
        )
    if not is_name(name):
        raise InvalidArgument(f"create {name[:64]}: volume name is longer than {_LONGEST} characters")


def as_json(volume: Volume, mountpoint: str) -> Json:
    """docker's ``Volume``."""
    return {
        "CreatedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(volume.created_ns // 10**9)),
        "Driver": volume.driver,
        "Labels": volume.labels,
        "Mountpoint": mountpoint,
        "Name": volume.name,
        "Options": volume.options,
        "Scope": "local",
    }
