"""Directories of cache mounts: what steps keep for the next ones, beside all layers.

<data root>/build/caches/<digest of the name>[.<number>]/fs      what is mounted
<data root>/build/caches/<digest of the name>[.<number>]/name    its name, for people; touched by each use
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from onggi.archive import trees
from onggi.build.cache import Entry, takes
from onggi.images.views import rfc3339
from onggi.store.layout import make_private

Json = Any
KIND = "exec.cachemount"
_MAX_NAME = 4096


class Wish(NamedTuple):
    """A cache as a step asks for it; mode and owner are for one that is new."""

    name: str
    mode: int
    uid: int
    gid: int


def digest(name: str) -> str:
    """What a cache's directory is called: its name is the Dockerfile's, and no path."""
    return sha256(name.encode()).hexdigest()


def make(path: str, wish: Wish) -> None:
    """Make the directories of a cache, or note that it is used. Blocking."""
    make_private(os.path.dirname(path))
    make_private(path)
    with open(f"{path}/name", "w", encoding="utf-8", errors="replace") as file:
        file.write(wish.name[:_MAX_NAME])
    try:
        os.mkdir(f"{path}/fs", 0o700)
    except FileExistsError:
        return  # as the first step that used it wanted it
    os.chown(f"{path}/fs", wish.uid, wish.gid)
    os.chmod(f"{path}/fs", wish.mode & 0o7777)


def entries(directory: str) -> list[Entry]:
    """Every cache, measured. Blocking."""
    found = []
    for key in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        try:
            status = os.stat(f"{directory}/{key}/name")
            with open(f"{directory}/{key}/name", encoding="utf-8", errors="replace") as file:
                name = file.read(_MAX_NAME)
        except OSError:
            continue  # just being made, or removed
        size = trees.usage(f"{directory}/{key}/fs")
        text = f"cached mount {name}"
        found.append(Entry(key, "", "", text, int(status.st_ctime_ns), int(status.st_mtime_ns), 1, size))
    return found


def records(directory: str) -> list[Json]:
    """docker's BuildCache records of them. Blocking."""
    return [
        {
            "ID": entry.key[:25],
            "Parents": None,
            "Type": KIND,
            "Description": entry.description,
            "InUse": False,
            "Shared": False,
            "Size": entry.size,
            "CreatedAt": rfc3339(entry.created_ns),
            "LastUsedAt": rfc3339(entry.used_ns),
            "UsageCount": entry.uses,
        }
        for entry in entries(directory)
    ]


def prune(directory: str, filters: Mapping[str, Sequence[str]]) -> tuple[list[str], int]:
    """Remove those that docker's filters take; their keys, and the bytes they took. Blocking."""
    gone = [entry for entry in entries(directory) if takes(entry, filters, KIND)]
    for entry in gone:
        trees.remove(f"{directory}/{entry.key}")
    return [entry.key for entry in gone], sum(entry.size for entry in gone)
