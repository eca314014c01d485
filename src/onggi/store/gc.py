"""Finds what nothing refers to, by tracing, and removes it: rows in one durable transaction, files behind it.

Roots are images, what containers stand on, and leases. An image refers to its config, its manifests, the
documents its names once named, and its layers; a layer to the layer below and to its blobs.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import NamedTuple

import msgspec

from onggi.errors import OnggiError
from onggi.kernel.failpoints import failpoint
from onggi.store.content import Content
from onggi.store.rootfs import Spec
from onggi.store.snapshots import Snapshots

logger = logging.getLogger(__name__)
_PERIOD_S, _RETRY_S = 3600.0, 1.0
Keeper = Callable[[sqlite3.Connection], AbstractSet[str]]  # the blobs that rows of another room refer to


class Garbage(NamedTuple):
    """What lost its rows: layers (chain id, number) and blobs, in all ``size`` bytes; ``leased`` are blobs
    that somebody waits for.
    """

    layers: list[tuple[str, int]]
    blobs: list[str]
    leased: set[str]
    size: int


class Collector:
    """Collects the garbage of one store."""

    def __init__(self, content: Content, snapshots: Snapshots, keepers: Sequence[Keeper] = ()) -> None:
        self._content, self._snapshots, self._keepers = content, snapshots, keepers

    def recover(self) -> None:
        """At start, before any call: drop what nothing refers to, put files without rows aside. Blocking."""
        garbage = self._content.database.run_blocking(self.collect, durable=True)
        self._snapshots.recover()
        self._content.recover()
        self._content.ingest.drop(garbage.leased)

    async def run(self) -> Garbage:
        """Collect now."""
        return await self._content.database.run(self.collect, durable=True, frees=True, after=self.discard)

    async def keep_house(self) -> None:
        """Collect what failed operations leave, soon, and what has expired, now and then; for ever."""
        wait_s = _PERIOD_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._content.spent.wait()
            self._content.spent.clear()
            wait_s = await self._try(wait_s)

    async def _try(self, waited_s: float) -> float:
        """Collect if it can be done (the disk may be full); returns for how long to wait then."""
        try:
            await self.run()
        except OnggiError as error:
            if waited_s == _PERIOD_S:
                logger.warning("garbage is not collected, which is tried again: %s", error)
            return _RETRY_S
        return _PERIOD_S

    def preview(
        self, connection: sqlite3.Connection, images: AbstractSet[str], containers: AbstractSet[str]
    ) -> Garbage:
        """What would go if only these ``images`` and ``containers`` were left. Changes nothing."""
        connection.execute("SAVEPOINT preview")
        try:
            for image_id in _first(connection, "SELECT id FROM images") - images:
                connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
            for key in _first(connection, "SELECT key FROM snapshots WHERE kind = 'container'") - containers:
                connection.execute("DELETE FROM snapshots WHERE key = ?", (key,))
            expire(connection, float("inf"), self._content.held)
            return drop_unused(connection, self._kept(connection))
        finally:
            connection.execute("ROLLBACK TO preview")
            connection.execute("RELEASE preview")

    def collect(self, connection: sqlite3.Connection, *, abandoned: bool = False) -> Garbage:
        """Drop rows, in the caller's transaction, which must be durable and have ``discard`` behind it.

        ``abandoned``: leases of operations that are over are not waited for.
        """
        expire(connection, float("inf") if abandoned else time.time_ns(), self._content.held)
        self._snapshots.forget_layers()
        garbage = drop_unused(connection, self._kept(connection))
        failpoint("store.gc.before_commit")
        return garbage

    def _kept(self, connection: sqlite3.Connection) -> set[str]:
        return {digest for keeper in self._keepers for digest in keeper(connection)}

    def discard(self, garbage: Garbage) -> None:
        """Put files aside. On the database's thread, behind the commit: nobody can look for them between."""
        failpoint("store.gc.after_commit")
        self._snapshots.discard(number for _, number in garbage.layers)
        self._content.discard(garbage.blobs)
        self._content.ingest.drop(garbage.leased)


def expire(connection: sqlite3.Connection, now_ns: float, held: Collection[str]) -> None:
    """Drop leases that have expired by ``now_ns``, but for those of operations in progress."""
    for key, expires_ns in connection.execute("SELECT id, expires_ns FROM leases").fetchall():
        if expires_ns <= now_ns and key not in held:
            connection.execute("DELETE FROM leases WHERE id = ?", (key,))


def drop_unused(connection: sqlite3.Connection, kept: AbstractSet[str] = frozenset()) -> Garbage:
    """Drop the rows of everything that cannot be reached from a root; ``kept`` are further blobs."""
    for table in ("manifests", "sources"):
        connection.execute(f"DELETE FROM {table} WHERE image_id NOT IN (SELECT id FROM images)")
    leased = _first(connection, "SELECT key FROM lease_items WHERE kind = 'blob'")
    layers = _unused_layers(connection)
    query = "SELECT coalesce(disk, size) FROM layers WHERE chain_id = ?"
    size = _sum(connection, query, [chain_id for chain_id, _ in layers])
    for chain_id, number in layers:
        connection.execute("DELETE FROM layers WHERE chain_id = ?", (chain_id,))
        connection.execute("DELETE FROM snapshots WHERE number = ?", (number,))
    blobs = sorted(
        _first(connection, "SELECT digest FROM blobs") - _reached_blobs(connection) - leased - kept
    )
    size += _sum(connection, "SELECT size FROM blobs WHERE digest = ?", blobs)
    for digest in blobs:
        connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
        connection.execute("DELETE FROM layer_blobs WHERE digest = ?", (digest,))
    return Garbage(layers, blobs, leased, size)


def _unused_layers(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    roots = _first(connection, "SELECT chain_id FROM images WHERE chain_id IS NOT NULL")
    roots |= _first(connection, "SELECT key FROM lease_items WHERE kind = 'layer'") | _stood_on(connection)
    live = _with_parents(roots, dict(connection.execute("SELECT chain_id, parent FROM layers").fetchall()))
    rows = connection.execute("SELECT chain_id, number FROM layers").fetchall()
    return [(str(chain_id), int(number)) for chain_id, number in rows if chain_id not in live]


def _with_parents(roots: Iterable[str], parents: dict[str, str | None]) -> set[str]:
    live: set[str] = set()
    for root in roots:
        chain_id: str | None = root
        while chain_id and chain_id not in live:
            live.add(chain_id)
            chain_id = parents.get(chain_id)
    return live


def _reached_blobs(connection: sqlite3.Connection) -> set[str]:
    """Blobs that images and the layers that are left refer to."""
    return _first(
        connection,
        "SELECT id FROM images UNION SELECT digest FROM manifests UNION SELECT digest FROM sources "
        "UNION SELECT digest FROM layer_blobs WHERE diff_id IN (SELECT diff_id FROM layers)",
    )


def _stood_on(connection: sqlite3.Connection) -> set[str]:
    """The topmost layers of containers, and of images mounted in them."""
    rows = connection.execute("SELECT spec FROM snapshots WHERE kind = 'container'").fetchall()
    specs = (msgspec.json.decode(row[0], type=Spec) for row in rows)
    return {chain[-1] for spec in specs for chain in (spec.chain, *spec.beside) if chain}


def _sum(connection: sqlite3.Connection, query: str, keys: Iterable[str]) -> int:
    return sum(int(connection.execute(query, (key,)).fetchone()[0]) for key in keys)


def _first(connection: sqlite3.Connection, query: str) -> set[str]:
    """The first column."""
    return {str(row[0]) for row in connection.execute(query)}
