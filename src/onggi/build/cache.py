"""Layers by what made them, and which of them may go.

A row's layer is kept by an item of one lease that never ends; a row whose layer is gone all the same is none.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from onggi.containers.until import parse_until
from onggi.errors import InvalidArgument
from onggi.images.views import rfc3339
from onggi.kernel.failpoints import failpoint
from onggi.oci.digest import chain_ids
from onggi.store.content import Content
from onggi.store.gc import Collector, Garbage
from onggi.store.schema import Migration

Json = Any
_LEASE = "build-cache"
_NEVER = 1 << 62
FILTERS = frozenset(
    (
        "until",
        "id",
        "type",
        "description",
        "inuse",
        "shared",
        "private",
        "parent",
        "unused-for",
        "label",
        "label!",
    )
)
MIGRATIONS = [
    Migration(
        "build",
        1,
        """
        CREATE TABLE build_steps (
            key TEXT PRIMARY KEY,
            chain_id TEXT NOT NULL,
            diff_id TEXT NOT NULL,
            description TEXT NOT NULL,
            created_ns INTEGER NOT NULL,
            used_ns INTEGER NOT NULL,
            uses INTEGER NOT NULL
        )
        """,
    )
]


class Entry(NamedTuple):
    """One step that was done: a row, and the bytes of its layer."""

    key: str
    chain_id: str
    diff_id: str
    description: str
    created_ns: int
    used_ns: int
    uses: int
    size: int = 0


class Used(NamedTuple):
    """What does not go: steps that builds in progress have, and images that containers are made of."""

    steps: Collection[str] = ()
    images: Collection[str] = ()


def key_of(**parts: Json) -> str:
    """The name of what a step is made of."""
    return sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


class Cache:
    """The steps of one store."""

    def __init__(self, content: Content, collector: Collector) -> None:
        self._content, self._collector = content, collector
        self._database = content.database
        content.held.add(_LEASE)

    async def find(self, key: str, parents: Sequence[str]) -> str:
        """The diff id of the step's layer above ``parents``, empty if it is not here."""

        def look(connection: sqlite3.Connection) -> str:
            row = connection.execute("SELECT diff_id FROM build_steps WHERE key = ?", (key,)).fetchone()
            if row is None or not is_here(connection, [*parents, row[0]]):
                return ""
            change = "UPDATE build_steps SET used_ns = ?, uses = uses + 1 WHERE key = ?"
            connection.execute(change, (time.time_ns(), key))
            return str(row[0])

        return await self._database.run(look)

    async def keep(self, key: str, layers: Sequence[str], description: str) -> None:
        """Remember a step by its key; its layer is the last of ``layers``."""
        now, chain_id = time.time_ns(), chain_ids(layers)[-1]
        row = (key, chain_id, layers[-1], description, now, now, 1)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO leases VALUES (?, ?)", (_LEASE, _NEVER))
            connection.execute("INSERT OR IGNORE INTO lease_items VALUES (?, 'layer', ?)", (_LEASE, chain_id))
            connection.execute("INSERT OR REPLACE INTO build_steps VALUES (?, ?, ?, ?, ?, ?, ?)", row)

        failpoint("build.step.before_row")
        await self._database.run(write)
        failpoint("build.step.after_row")

    async def usage(self, used: Collection[str] = ()) -> list[Json]:
        """docker's BuildCache records; ``used`` are keys that builds in progress have."""
        return [_record(entry, used) for entry in await self._database.run(entries)]

    async def prune(
        self, filters: Mapping[str, Sequence[str]], used: Used, *, keep: int = 0
    ) -> tuple[list[str], int]:
        """Forget steps and what only they keep; the last used stay while all take no more than ``keep``.

        Returns their keys and the bytes that are free.
        """

        def drop(connection: sqlite3.Connection) -> tuple[list[str], Garbage]:
            gone, size = [], 0
            for entry in sorted(entries(connection), key=lambda it: it.used_ns, reverse=True):
                size += entry.size
                if entry.key not in used.steps and (not keep or size > keep) and takes(entry, filters):
                    gone.append(entry)
            forget(connection, gone, used.images)
            return [entry.key for entry in gone], self._collector.collect(connection)

        keys, garbage = await self._database.run(
            drop, durable=True, after=lambda result: self._collector.discard(result[1])
        )
        return keys, garbage.size


def is_here(connection: sqlite3.Connection, layers: Sequence[str]) -> bool:
    """Whether the topmost of these layers is unpacked in its place."""
    query = "SELECT 1 FROM layers WHERE chain_id = ?"
    return connection.execute(query, (chain_ids(layers)[-1],)).fetchone() is not None


def entries(connection: sqlite3.Connection) -> list[Entry]:
    """Every step whose layer is here."""
    query = "SELECT s.*, l.size FROM build_steps s JOIN layers l ON l.chain_id = s.chain_id"
    return [Entry(*row) for row in connection.execute(query)]


def forget(connection: sqlite3.Connection, gone: Sequence[Entry], images: Collection[str]) -> None:
    """Drop rows, and the images that builds made on the way above these layers, but for those in use."""
    chains = {entry.chain_id for entry in gone}
    for entry in gone:
        connection.execute("DELETE FROM build_steps WHERE key = ?", (entry.key,))
    everything = not connection.execute("SELECT 1 FROM build_steps").fetchone()
    for image_id, chain_id in connection.execute("SELECT id, chain_id FROM images WHERE hidden").fetchall():
        if image_id not in images and (everything or chain_id in chains):
            connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
    connection.execute(
        "DELETE FROM lease_items WHERE lease = ? AND kind = 'layer'"
        " AND key NOT IN (SELECT chain_id FROM build_steps)",
        (_LEASE,),
    )


def takes(entry: Entry, filters: Mapping[str, Sequence[str]], kind: str = "regular") -> bool:
    """Whether docker's filters let a step, or a cache of another kind, go. Raises InvalidArgument."""
    for name, values in filters.items():
        if name in ("until", "unused-for"):
            if not all(entry.used_ns < parse_until(value, time.time_ns()) for value in values):
                return False
        elif name == "id":
            if not any(entry.key.startswith(value) for value in values):
                return False
        elif name == "description":
            if not any(value in entry.description for value in values):
                return False
        elif name == "type":
            if kind not in values:
                return False
        elif name == "label":  # `system prune` sends it here too; no step has one
            return False
        elif name != "label!":
            raise InvalidArgument(f"filter {name} is not supported for the build cache")
    return True


def _record(entry: Entry, used: Collection[str]) -> Json:
    return {
        "ID": entry.key[:25],
        "Parents": None,
        "Type": "regular",
        "Description": entry.description,
        "InUse": entry.key in used,
        "Shared": False,
        "Size": entry.size,
        "CreatedAt": rfc3339(entry.created_ns),
        "LastUsedAt": rfc3339(entry.used_ns),
        "UsageCount": entry.uses,
    }
