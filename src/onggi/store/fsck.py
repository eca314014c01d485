"""Verifies a store while it is used, and repairs it: digests and sizes of blobs, rows against files and back.

What is found among files is looked at again on the database's thread before it is told: there, no operation
is between its files and its rows.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from onggi.store.content import Content
from onggi.store.findings import Broken, Finding, among_rows, blob_rows, layer_rows
from onggi.store.gc import Collector
from onggi.store.ingest import Blob
from onggi.store.layout import Layout
from onggi.store.snapshots import Snapshots

_PIECE = 1 << 20
Still = Callable[[sqlite3.Connection], bool]  # whether something is (still) so


class Store(NamedTuple):
    """The parts of the store that is checked.

    ``restore`` unpacks a layer (chain id) again from its archive and says whether it could. ``compare`` says
    what distinguishes a layer's directory (chain id, number) from its archive, empty for nothing; ``is_used``
    whether a running container stands on a layer.
    """

    layout: Layout
    content: Content
    snapshots: Snapshots
    collector: Collector
    restore: Callable[[str], Awaitable[bool]]
    compare: Callable[[str, int], Awaitable[str]]
    is_used: Callable[[str], Awaitable[bool]]


class Check:
    """One check of a whole store; ``counts`` says what was looked at and found."""

    def __init__(self, store: Store, *, repair: bool, deep: bool = False) -> None:
        """``deep``: every layer is compared with its archive, file by file."""
        self._store, self._repair, self._deep = store, repair, deep
        self._database = store.content.database
        self._broken: tuple[set[str], set[str]] = (set(), set())
        self.counts = {"Blobs": 0, "Bytes": 0, "Layers": 0, "Findings": 0, "Repaired": 0}

    async def run(self) -> AsyncIterator[tuple[Finding, bool]]:
        """Every finding, and whether it has been repaired."""
        async for finding in self._all():
            self.counts["Findings"] += 1
            repaired = self._repair and await self._mend(finding)
            self.counts["Repaired"] += repaired
            yield finding, repaired
        if self.counts["Repaired"]:
            await self._store.collector.run()

    async def _all(self) -> AsyncIterator[Finding]:
        async for finding in self._blobs():
            yield finding
        async for finding in self._directories():
            yield finding
        # A repair may be what makes the next fault: an image loses its layer, a name its image.
        told: set[tuple[str, str]] = set()
        while fresh := [it for it in await self._rows() if it[:2] not in told]:
            for finding in fresh:
                told.add(finding[:2])
                yield finding
            if not self._repair:
                break
        async for finding in self._leftovers():
            yield finding

    async def _mend(self, finding: Finding) -> bool:
        if finding.layer:
            return await self._restore(finding)

        def change(connection: sqlite3.Connection) -> None:
            for statement, values in finding.rows:
                connection.execute(statement, values)

        def aside(_: None) -> None:
            self._store.snapshots.forget_layers()
            for path in finding.files:
                self._store.content.trash.put(path)

        await self._database.run(change, durable=True, after=aside)
        return bool(finding.remedy)

    async def _restore(self, finding: Finding) -> bool:
        # What a running container stands on is not taken away from below it.
        if finding.files and await self._store.is_used(finding.layer):
            return False
        restored = await self._store.restore(finding.layer)
        for path in finding.files if restored else ():
            await asyncio.to_thread(self._store.content.trash.put, path)
        return restored

    async def _rows(self) -> list[Finding]:
        broken = Broken() if self._repair else Broken(*self._broken)
        held = self._store.content.held
        return await self._database.run(lambda it: among_rows(it, self._store.layout, held, broken))

    async def _holds(self, still: Still) -> bool:
        return await self._database.run(still)

    # -- blobs ---------------------------------------------------------------------------------------------

    async def _blobs(self) -> AsyncIterator[Finding]:
        query = "SELECT digest, size FROM blobs ORDER BY digest"
        rows = await self._database.run(lambda it: it.execute(query).fetchall())
        for digest, size in rows:
            problem = await asyncio.to_thread(self._verify, Blob(digest, size))
            if problem and await self._holds(partial(_has_blob, digest=digest)):
                self._broken[0].add(digest)
                yield Finding(
                    f"blob {digest}", problem, "it is removed", blob_rows(digest), [self._path(digest)]
                )
        orphans = await asyncio.to_thread(self._orphans, {self._path(row[0]) for row in rows})
        for path in orphans:
            if await self._holds(partial(self._is_orphan, path=path)):
                yield Finding(f"file {path}", "no row names it", "it is removed", files=[path])

    def _path(self, digest: str) -> str:
        return self._store.content.blobs.path(digest)

    def _verify(self, blob: Blob) -> str:
        """What is wrong with a blob's file; empty if it is what its row says."""
        digest, size = sha256(), 0
        try:
            with open(self._path(blob.digest), "rb", buffering=0) as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
        except FileNotFoundError:
            return "its file is missing"
        except OSError as error:
            return f"its file cannot be read: {(error.strerror or '').lower()}"
        self.counts["Blobs"] += 1
        self.counts["Bytes"] += size
        if size != blob.size:
            return f"its file has {size} bytes instead of {blob.size}"
        found = "sha256:" + digest.hexdigest()
        return "" if found == blob.digest else f"its bytes have the digest {found}"

    def _orphans(self, known: set[str]) -> list[str]:
        return sorted(set(self._store.content.blobs.files()) - known)

    def _is_orphan(self, connection: sqlite3.Connection, path: str) -> bool:
        """Whether no row names the file, and nobody is about to write one."""
        digest = "sha256:" + os.path.basename(path)
        query = "SELECT lease FROM lease_items WHERE kind = 'blob' AND key = ?"
        leases = {row[0] for row in connection.execute(query, (digest,))}
        awaited = leases & self._store.content.held
        return os.path.lexists(path) and not awaited and not _has_blob(connection, digest)

    # -- directories ---------------------------------------------------------------------------------------

    async def _directories(self) -> AsyncIterator[Finding]:
        query = "SELECT number, kind, key FROM snapshots ORDER BY number"  # a layer before those above it
        rows = await self._database.run(lambda it: it.execute(query).fetchall())
        self.counts["Layers"] = sum(kind == "layer" for _, kind, _ in rows)
        lost, strays = await asyncio.to_thread(self._look_at_directories, {int(row[0]) for row in rows})
        for number, kind, key in rows:
            if number in lost and await self._holds(partial(_has_snapshot, number=number)):
                async for finding in self._lost_layer(key) if kind == "layer" else _lost_container(key):
                    yield finding
            elif self._deep and kind == "layer" and number not in lost:
                async for finding in self._compared(key, number):
                    yield finding
        for name in strays:
            if await self._holds(partial(self._is_stray, name=name)):
                path = f"{self._store.layout.snapshots}/{name}"
                yield Finding(f"directory {path}", "no row names it", "it is removed", files=[path])

    def _look_at_directories(self, numbers: set[int]) -> tuple[set[int], list[str]]:
        """Numbers that have no directory, and names that are no number's."""
        layout = self._store.layout
        lost = {number for number in numbers if not os.path.isdir(f"{layout.snapshot(number)}/fs")}
        return lost, sorted(set(os.listdir(layout.snapshots)) - set(map(str, numbers)))

    async def _lost_layer(self, chain_id: str) -> AsyncIterator[Finding]:
        told, lost = f"layer {chain_id}", "its directory is missing"
        if await self._holds(partial(self._has_archive, chain_id=chain_id)):
            yield Finding(told, lost, "it is unpacked again from its archive", layer=chain_id)
            if not self._repair or not await self._holds(partial(self._lies_nowhere, chain_id=chain_id)):
                return
            lost = "it could not be unpacked again"
        self._broken[1].add(chain_id)
        yield Finding(told, lost, "its rows are dropped", layer_rows(chain_id))

    async def _compared(self, chain_id: str, number: int) -> AsyncIterator[Finding]:
        if not await self._holds(partial(self._has_archive, chain_id=chain_id)):
            return
        difference = await self._store.compare(chain_id, number)
        if difference and await self._holds(partial(_has_snapshot, number=number)):
            remedy = "it is unpacked again from its archive, unless a running container stands on it"
            files = [self._store.layout.snapshot(number)]
            yield Finding(
                f"layer {chain_id}", f"differs from its archive: {difference}", remedy, (), files, chain_id
            )

    def _has_archive(self, connection: sqlite3.Connection, chain_id: str) -> bool:
        query = (
            "SELECT b.digest FROM layers l JOIN layer_blobs a ON a.diff_id = l.diff_id "
            "JOIN blobs b ON b.digest = a.digest WHERE l.chain_id = ?"
        )
        found = {row[0] for row in connection.execute(query, (chain_id,))}
        return bool(found - self._broken[0])

    def _lies_nowhere(self, connection: sqlite3.Connection, chain_id: str) -> bool:
        query = "SELECT number FROM layers WHERE chain_id = ?"
        rows = connection.execute(query, (chain_id,)).fetchall()
        return not all(os.path.isdir(f"{self._store.layout.snapshot(row[0])}/fs") for row in rows)

    def _is_stray(self, connection: sqlite3.Connection, name: str) -> bool:
        if not name.isdigit():
            return True
        number = int(name)
        return not (self._store.snapshots.in_progress(number) or _has_snapshot(connection, number))

    # -- what is left over ---------------------------------------------------------------------------------

    async def _leftovers(self) -> AsyncIterator[Finding]:
        ingest, layout = self._store.content.ingest, self._store.layout
        query = "SELECT key FROM lease_items WHERE kind = 'blob'"
        wanted = await self._database.run(lambda it: {row[0] for row in it.execute(query)})
        for name in await asyncio.to_thread(ingest.unwanted, wanted):
            path = f"{layout.ingest}/{name}"
            yield Finding(f"file {path}", "nobody continues this download", "it is removed", files=[path])
        for path in await asyncio.to_thread(self._store.content.trash.left):
            yield Finding(f"file {path}", "its deletion was not finished", "it is deleted", files=[path])


async def _lost_container(container_id: str) -> AsyncIterator[Finding]:
    yield Finding(f"container {container_id[:12]}", "its root file system is missing: remove it")


def _has_blob(connection: sqlite3.Connection, digest: str) -> bool:
    return connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone() is not None


def _has_snapshot(connection: sqlite3.Connection, number: int) -> bool:
    return connection.execute("SELECT 1 FROM snapshots WHERE number = ?", (number,)).fetchone() is not None
