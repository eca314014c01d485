"""What can be wrong with a store, as data: rows against rows. Everything here looks at one moment of the
database, so that work in progress is never mistaken for damage.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from onggi.oci import reference as references
from onggi.store.layout import Layout

Statement = tuple[str, Sequence[object]]


class Finding(NamedTuple):
    """Something is wrong with an ``object``; the ``remedy`` says what a repair does: unpacks a ``layer``
    (chain id) again, or drops rows, then puts files aside. Without a remedy it is for people to mend.
    """

    object: str
    problem: str
    remedy: str = ""
    rows: Sequence[Statement] = ()
    files: Sequence[str] = ()
    layer: str = ""


class Broken(NamedTuple):
    """Blobs (digests) and layers (chain ids) whose files are missing or damaged: their rows do not count."""

    blobs: Collection[str] = ()
    layers: Collection[str] = ()


class _Rows:
    """The tables of one moment."""

    def __init__(self, connection: sqlite3.Connection, layout: Layout, broken: Broken) -> None:
        self._connection, self.layout = connection, layout
        self.named = self.column("SELECT digest FROM blobs")
        self.blobs = self.named - set(broken.blobs)
        self.images = dict(self.all("SELECT id, chain_id FROM images"))
        self.layers = {
            row[0]: (row[1], row[2]) for row in self.all("SELECT chain_id, parent, number FROM layers")
        }
        for chain_id in broken.layers:
            self.layers.pop(chain_id, None)
        self.names: dict[str, list[str]] = {}
        for name, image_id in self.all("SELECT reference, image_id FROM tags"):
            self.names.setdefault(image_id, []).append(references.parse(name).familiar)

    def all(self, query: str) -> list[Any]:
        return self._connection.execute(query).fetchall()

    def column(self, query: str) -> set[str]:
        return {row[0] for row in self.all(query)}

    def image(self, image_id: str) -> str:
        return "image " + ", ".join(self.names.get(image_id, [image_id]))


def among_rows(
    connection: sqlite3.Connection, layout: Layout, held: Collection[str], broken: Broken
) -> list[Finding]:
    """Everything that is wrong between rows. ``held`` are leases of operations in progress."""
    rows = _Rows(connection, layout, broken)
    checks = (_database, _layers, _images, _names, _blobs, _snapshots)
    return [
        *(finding for check in checks for finding in check(rows)),
        *_leases(connection, held),
    ]


def _database(rows: _Rows) -> Iterator[Finding]:
    for (word,) in rows.all("PRAGMA integrity_check"):
        if word != "ok":
            yield Finding("the database", word)


def _layers(rows: _Rows) -> Iterator[Finding]:
    numbers = {
        int(row[0]): row[1] for row in rows.all("SELECT number, key FROM snapshots WHERE kind = 'layer'")
    }
    for chain_id, (parent, number) in rows.layers.items():
        if parent and parent not in rows.layers:
            problem = f"the layer below it, {parent}, is missing"
        elif numbers.get(number) != chain_id:
            problem = f"no snapshot {number} is its own"
        else:
            continue
        files = [rows.layout.snapshot(number)] if numbers.get(number, chain_id) == chain_id else []
        drop = layer_rows(chain_id)
        yield Finding(f"layer {chain_id}", problem, "it is removed", drop, files)
    known = rows.column("SELECT chain_id FROM layers")
    for number, key in numbers.items():
        if key not in known:
            yield _lost_snapshot(rows, number, f"no layer {key} is there")


def _lost_snapshot(rows: _Rows, number: int, problem: str) -> Finding:
    drop, files = [("DELETE FROM snapshots WHERE number = ?", (number,))], [rows.layout.snapshot(number)]
    return Finding(f"snapshot {number}", problem, "it is removed", drop, files)


def layer_rows(chain_id: str) -> list[Statement]:
    """What forgets a layer."""
    return [
        ("DELETE FROM snapshots WHERE kind = 'layer' AND key = ?", (chain_id,)),
        ("DELETE FROM layers WHERE chain_id = ?", (chain_id,)),
    ]


def blob_rows(digest: str) -> list[Statement]:
    """What forgets a blob."""
    return [(f"DELETE FROM {it} WHERE digest = ?", (digest,)) for it in ("blobs", "layer_blobs")]


def _images(rows: _Rows) -> Iterator[Finding]:
    for image_id, chain_id in rows.images.items():
        problem = "" if image_id in rows.blobs else "its configuration is missing"
        while chain_id and not problem:
            if chain_id not in rows.layers:
                problem = f"its layer {chain_id} is missing"
                break
            chain_id = rows.layers[chain_id][0]
        if problem:
            remedy = "it is removed: pull, load or import it again"
            yield Finding(rows.image(image_id), problem, remedy, image_rows(image_id))


def image_rows(image_id: str) -> list[Statement]:
    """What forgets an image."""
    named = [(f"DELETE FROM {it} WHERE image_id = ?", (image_id,)) for it in ("tags", "sources", "manifests")]
    return [*named, ("DELETE FROM images WHERE id = ?", (image_id,))]


def _names(rows: _Rows) -> Iterator[Finding]:
    for name, image_id in rows.all("SELECT reference, image_id FROM tags"):
        if image_id not in rows.images:
            drop = ("DELETE FROM tags WHERE reference = ?", (name,))
            yield Finding(f"tag {name}", f"no image {image_id} is here", "it is removed", [drop])
    for table in ("manifests", "sources"):
        for digest, image_id in rows.all(f"SELECT digest, image_id FROM {table}"):
            problem = "" if digest in rows.blobs else "its document is missing"
            problem = problem if image_id in rows.images else f"no image {image_id} is here"
            if problem:
                drops = [(f"DELETE FROM {table} WHERE digest = ? AND image_id = ?", (digest, image_id))]
                yield Finding(f"{table.removesuffix('s')} {digest}", problem, "its row is dropped", drops)


def _blobs(rows: _Rows) -> Iterator[Finding]:
    for (digest,) in rows.all("SELECT digest FROM layer_blobs"):
        if digest not in rows.named:
            drop = ("DELETE FROM layer_blobs WHERE digest = ?", (digest,))
            yield Finding(f"layer archive {digest}", "it is missing", "its row is dropped", [drop])


def _snapshots(rows: _Rows) -> Iterator[Finding]:
    if not rows.all("SELECT 1 FROM sqlite_master WHERE name = 'containers'"):
        return  # a store without containers
    known = rows.column("SELECT id FROM containers")
    for number, key in rows.all("SELECT number, key FROM snapshots WHERE kind = 'container'"):
        if key not in known:
            yield _lost_snapshot(rows, number, f"no container {key} is here")


def _leases(connection: sqlite3.Connection, held: Collection[str]) -> Iterator[Finding]:
    query = "SELECT id FROM leases WHERE expires_ns <= ?"
    for (key,) in connection.execute(query, (time.time_ns(),)).fetchall():
        if key not in held:
            drop = ("DELETE FROM leases WHERE id = ?", (key,))
            yield Finding(
                f"lease {key}", "it has expired", "it is dropped, and what it kept collected", [drop]
            )
