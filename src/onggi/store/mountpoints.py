"""A layer between image and container that holds the mount points which the image lacks.

Without it the first process makes them in the container's own layer: ``/etc`` is copied up and three files
are made and removed again for every container, and show in its diff. docker has the same layer (its name
ends in ``-init``). It never hides anything of the image: only what is missing is in it, below directories
with the image's mode and owner. One serves all images that lack the same.

    <data-root>/mountpoints/<digest of its description>/        kept for ever: containers stand on it
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import uuid
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from onggi.archive.overlay import is_whiteout
from onggi.kernel.mounts import MAX_LAYERS

_DIRECTORIES = ("dev", "proc", "sys")
_FILES = {"etc": ("hostname", "hosts", "resolv.conf")}


class Point(NamedTuple):
    """One entry of the layer, parents first; a directory's mode has its file type bits."""

    path: str
    mode: int
    uid: int
    gid: int


class MountPoints:
    """The layers of mount points of one store, remembered by the layers they complete."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._known: dict[tuple[str, ...], str] = {}

    def above(self, layers: Sequence[str]) -> list[str]:
        """``layers`` (top first) below what they lack; as they are if there may be no further one."""
        if len(layers) >= MAX_LAYERS:
            return [*layers]
        key = tuple(layers)
        if key not in self._known:
            self._known[key] = layer(self._place, layers)
        points = self._known[key]
        return [points, *layers] if points else [*layers]

    def forget(self) -> None:
        """Layers have gone."""
        self._known.clear()


def missing(layers: Sequence[str]) -> list[Point]:
    """What the merged view of ``layers`` (directories, top first) lacks; nothing is followed."""
    points = [
        Point(name, stat.S_IFDIR | 0o755, 0, 0) for name in _DIRECTORIES if _first(layers, name) is None
    ]
    for parent, names in _FILES.items():
        found = _first(layers, parent)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            continue  # a symbolic link: whatever is behind it is for the first process to resolve
        within = _merged(layers, parent)
        absent = [name for name in names if _first(within, name) is None]
        if absent:
            points.append(
                Point(parent, found.st_mode, found.st_uid, found.st_gid)
                if found
                else Point(parent, stat.S_IFDIR | 0o755, 0, 0)
            )
            points += [Point(f"{parent}/{name}", stat.S_IFREG | 0o644, 0, 0) for name in absent]
    return points


def layer(place: str, layers: Sequence[str]) -> str:
    """The directory of the layer for an image, made if need be; empty if nothing is missing. Blocking."""
    points = missing(layers)
    if not points:
        return ""
    path = f"{place}/{sha256(json.dumps(points).encode()).hexdigest()[:16]}"
    if not os.path.isdir(path):
        made = f"{place}/{uuid.uuid4().hex}"
        _make(made, points)
        try:
            os.rename(made, path)
        except OSError:
            shutil.rmtree(made)  # made by another thread meanwhile
    return path


def _make(path: str, points: Sequence[Point]) -> None:
    os.makedirs(path, 0o755)
    for point in points:
        target = f"{path}/{point.path}"
        if stat.S_ISDIR(point.mode):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
        os.chown(target, point.uid, point.gid)
        os.chmod(target, stat.S_IMODE(point.mode))


def _first(layers: Sequence[str], name: str) -> os.stat_result | None:
    """The topmost entry of a name; None if there is none or a whiteout hides it."""
    for directory in layers:
        try:
            status = os.lstat(f"{directory}/{name}")
        except OSError:
            continue
        return None if is_whiteout(status) else status
    return None


def _merged(layers: Sequence[str], name: str) -> list[str]:
    """The directories that make up a directory of the merged view, top first."""
    found = []
    for directory in layers:
        path = f"{directory}/{name}"
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            break
        found.append(path)
        if _opaque(path):
            break
    return found


def _opaque(path: str) -> bool:
    return any(_has(path, f"{dialect}.overlay.opaque") for dialect in ("trusted", "user"))


def _has(path: str, name: str) -> bool:
    try:
        return os.getxattr(path, name, follow_symlinks=False) in (b"y", b"x")
    except OSError:
        return False
