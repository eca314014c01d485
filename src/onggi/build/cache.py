"""Layers by what made them.

A row's layer is kept by an item of one lease that never ends; a row whose layer is gone all the same is none.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from onggi.build.policy import STEP, Entry
from onggi.kernel.failpoints import failpoint
from onggi.oci.digest import chain_id
from onggi.store.content import Content
from onggi.store.gc import Collector, Garbage
from onggi.store.schema import Migration

Json = Any
_LEASE = "build-cache"
_NEVER = 1 << 62
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
_SHARED = """
    WITH RECURSIVE has(id) AS (
        SELECT chain_id FROM images WHERE NOT hidden AND chain_id IS NOT NULL
        UNION SELECT layers.parent FROM layers JOIN has ON layers.chain_id = has.id
    )
    SELECT id FROM has
"""


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
            return str(row[0]) if row and is_here(connection, [*parents, row[0]]) else ""

        return await self._database.run(look)

    async def touch(self, used: Mapping[str, int]) -> None:
        """Note when builds have used steps."""
        rows = [(time_ns, key) for key, time_ns in used.items()]
        change = "UPDATE build_steps SET used_ns = ?, uses = uses + 1 WHERE key = ?"
        await self._database.run(lambda it: it.executemany(change, rows) and None)

    async def keep(self, key: str, layers: Sequence[str], description: str) -> None:
        """Remember a step by its key; its layer is the last of ``layers``."""
        now, chain = time.time_ns(), chain_id(layers)
        row = (key, chain, layers[-1], description, now, now, 0)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO leases VALUES (?, ?)", (_LEASE, _NEVER))
            connection.execute("INSERT OR IGNORE INTO lease_items VALUES (?, 'layer', ?)", (_LEASE, chain))
            connection.execute("INSERT OR REPLACE INTO build_steps VALUES (?, ?, ?, ?, ?, ?, ?)", row)

        failpoint("build.step.before_row")
        await self._database.run(write)
        failpoint("build.step.after_row")

    async def entries(self, used: Collection[str]) -> list[Entry]:
        """Every step whose layer is here; ``used`` are keys that builds in progress have."""
        return await self._database.run(lambda it: entries(it, used))

    async def drop(self, gone: Sequence[Entry], images: Collection[str]) -> int:
        """Forget steps and what only they keep, but for ``images``; the bytes that are free."""

        def drop(connection: sqlite3.Connection) -> Garbage:
            forget(connection, gone, images)
            failpoint("build.prune.before_commit")
            return self._collector.collect(connection)

        garbage = await self._database.run(drop, durable=True, frees=True, after=self._collector.discard)
        return garbage.size


def is_here(connection: sqlite3.Connection, layers: Sequence[str]) -> bool:
    """Whether the topmost of these layers is unpacked in its place."""
    query = "SELECT 1 FROM layers WHERE chain_id = ?"
    return connection.execute(query, (chain_id(layers),)).fetchone() is not None


def entries(connection: sqlite3.Connection, used: Collection[str]) -> list[Entry]:
    """Every step whose layer is here."""
    query = (
        "SELECT s.key, s.description, s.created_ns, s.used_ns, s.uses, l.size, s.chain_id"
        " FROM build_steps s JOIN layers l ON l.chain_id = s.chain_id"
    )
    rows = connection.execute(query).fetchall()
    shared = {row[0] for row in connection.execute(_SHARED)}
    parents = dict(connection.execute("SELECT chain_id, parent FROM layers").fetchall())
    above = _above({row[-1]: row[3] for row in rows}, parents)
    return [
        Entry(
            key, STEP, told, created_ns, used_ns, uses, size,
            shared=chain in shared, in_use=key in used, chain_id=chain, above=above[chain],
        )
        for key, told, created_ns, used_ns, uses, size, chain in rows
    ]  # fmt: skip


def _above(used: Mapping[str, int], parents: Mapping[str, str | None]) -> dict[str, tuple[int, int]]:
    """When what stands on each layer was used, and, negative, how many are below it."""
    latest: dict[str, int] = {}
    depth: dict[str | None, int] = {None: 0}
    for chain, used_ns in used.items():
        below: list[str] = []
        here: str | None = chain
        while here is not None and (latest.get(here, -1) < used_ns or here not in depth):
            latest[here] = max(used_ns, latest.get(here, -1))
            below.append(here)
            here = parents.get(here)
        depth.update({name: number for number, name in enumerate(reversed(below), depth.get(here, 0) + 1)})
    return {chain: (latest[chain], -depth[chain]) for chain in used}


def forget(connection: sqlite3.Connection, gone: Sequence[Entry], images: Collection[str]) -> None:
    """Drop rows, and the images that builds made on the way above these layers, but for those in use."""
    chains = {entry.chain_id for entry in gone}
    connection.executemany("DELETE FROM build_steps WHERE key = ?", [(entry.key,) for entry in gone])
    everything = not connection.execute("SELECT 1 FROM build_steps").fetchone()
    for image_id, chain in connection.execute("SELECT id, chain_id FROM images WHERE hidden").fetchall():
        if image_id not in images and (everything or chain in chains):
            connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
    connection.execute(
        "DELETE FROM lease_items WHERE lease = ? AND kind = 'layer'"
        " AND key NOT IN (SELECT chain_id FROM build_steps)",
        (_LEASE,),
    )
