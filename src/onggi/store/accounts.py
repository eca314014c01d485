"""What takes how much of the disk: every file below the data root belongs to one account, so that their sum
is what du(1) says of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from onggi.archive import trees
from onggi.store.layout import Layout

_NAMES = "layers blobs containers logs volumes downloads database mountpoints trash other"
KINDS = tuple(_NAMES.split())
_WHOLE = ("volumes", "mountpoints", "trash")
_LAYERS_DISK = "SELECT number, disk FROM layers"


class Account(NamedTuple):
    """So many ``things`` take ``size`` bytes on disk, ``reclaimable`` of which a prune could give back."""

    kind: str
    things: int
    size: int
    reclaimable: int = 0


class Measured(NamedTuple):
    """Bytes and number of things of each kind; bytes of each layer, blob, partial blob, and of what each
    container wrote (by number of its snapshot) and has beside it (kind and id).
    """

    sizes: Counter[str]
    things: Counter[str]
    layers: dict[int, int]
    blobs: dict[str, int]
    downloads: dict[str, int]
    written: dict[int, int]
    beside: dict[tuple[str, str], int]


def measure(layout: Layout, layers: Mapping[int, int | None]) -> Measured:
    """Measure everything. ``layers`` maps the numbers of layers to bytes that are known: a layer does not
    change, and is not looked through again. Blocking; what comes or goes meanwhile may be missed.
    """
    result = Measured(Counter(), Counter(), {}, {}, {}, {}, {})
    result.sizes["other"] = _own(layout.root)
    for name, path in _entries(layout.root):
        if name in _WHOLE:
            _add(result, name, len([it for it, _ in _entries(path) if it[0] != "."]), tree(path))
        elif name == "ingest":
            result.downloads.update((partial, _own(file)) for partial, file in _entries(path))
            _add(result, "downloads", len(result.downloads), sum(result.downloads.values()) + _own(path))
        elif name.startswith(os.path.basename(layout.database)):
            _add(result, "database", 1, tree(path))
        elif name == "blobs":
            _measure_blobs(result, path)
        elif name == "containers":
            _measure_containers(result, path)
        elif name == "snapshots":
            _measure_snapshots(result, layout, layers)
        else:
            _add(result, "other", 1, tree(path))
    return result


def known_layers(connection: sqlite3.Connection) -> dict[int, int | None]:
    """What ``measure`` needs to know."""
    return dict(connection.execute(_LAYERS_DISK).fetchall())


def remember(connection: sqlite3.Connection, layers: Mapping[int, int]) -> None:
    """Keep what was measured of layers."""
    rows = [(size, number) for number, size in layers.items()]
    connection.executemany("UPDATE layers SET disk = ? WHERE number = ?", rows)


def tree(path: str) -> int:
    """Bytes on disk of a file or tree, its own directory included; 0 if it is gone."""
    return _own(path) + trees.usage(path)


def _measure_blobs(result: Measured, root: str) -> None:
    pending = [root]
    while pending:
        path = pending.pop()
        result.sizes["blobs"] += _own(path)
        for name, below in _entries(path):
            if os.path.isdir(below):
                pending.append(below)
                continue
            result.blobs[f"sha256:{name}"] = size = _own(below)
            _add(result, "blobs", 1, size)


def _measure_containers(result: Measured, root: str) -> None:
    result.sizes["containers"] += _own(root)
    for container_id, directory in _entries(root):
        logs = [path for name, path in _entries(directory) if name.startswith(container_id)]
        in_logs = result.beside["logs", container_id] = sum(map(tree, logs))
        rest = result.beside["containers", container_id] = tree(directory) - in_logs
        _add(result, "containers", 1, rest)
        _add(result, "logs", len(logs), in_logs)


def _measure_snapshots(result: Measured, layout: Layout, layers: Mapping[int, int | None]) -> None:
    result.sizes["layers"] += _own(os.path.dirname(layout.snapshots))
    for _, driver in _entries(os.path.dirname(layout.snapshots)):
        result.sizes["layers"] += _own(driver)
        for name, path in _entries(driver):
            number = int(name) if name.isdigit() else -1
            if number not in layers:
                result.written[number] = tree(path)
                result.sizes["containers"] += result.written[number]
                continue
            size = layers[number]
            result.layers[number] = tree(path) if size is None else size
            _add(result, "layers", 1, result.layers[number])


def _add(result: Measured, kind: str, things: int, size: int) -> None:
    result.things[kind] += things
    result.sizes[kind] += size


def _entries(path: str) -> list[tuple[str, str]]:
    try:
        return [(name, f"{path}/{name}") for name in os.listdir(path)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _own(path: str) -> int:
    try:
        return os.lstat(path).st_blocks * 512
    except FileNotFoundError:
        return 0
