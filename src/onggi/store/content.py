"""Blobs with their rows, under leases: what an operation has or brings is kept until its own rows name it.

The row is the truth: it says that a blob is here, whole and durable. Bringing one: file synced, renamed,
directory synced, then the row. Every step of an operation happens under a lease, which is taken *before*
looking whether something is here; garbage collection runs on the database's thread too, so that nothing can
vanish between the two.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from onggi.errors import OnggiError
from onggi.kernel.failpoints import failpoint, skipped
from onggi.store import opening
from onggi.store.blobs import Blobs
from onggi.store.database import Database
from onggi.store.ingest import Blob, BlobWriter, Ingest
from onggi.store.layout import Layout
from onggi.store.trash import Trash

T = TypeVar("T")
logger = logging.getLogger(__name__)
_DAY_S = 86400.0


class Content:
    """All blobs of one store."""

    def __init__(self, database: Database, layout: Layout, trash: Trash) -> None:
        self.trash = trash
        self.database, self.blobs, self.ingest = database, Blobs(layout), Ingest(layout.ingest)
        self.held: set[str] = set()  # leases of operations in progress: they do not expire
        self.spent = asyncio.Event()  # there is garbage that nothing else will have collected
        self._tasks: set[asyncio.Task[Any]] = set()

    def recover(self) -> None:
        """At start, before any call: put files without rows aside. Blocking."""
        self.ingest.recover()
        rows = self.database.run_blocking(lambda it: it.execute("SELECT digest FROM blobs").fetchall())
        known = {self.blobs.path(row[0]) for row in rows}
        for path in self.blobs.files():
            if path not in known:
                self.trash.put_aside(path)

    def discard(self, digests: Iterable[str]) -> None:
        """Have the files of blobs deleted, whose rows are durably gone. On the database's thread."""
        for digest in digests:
            self.trash.put(self.blobs.path(digest))

    async def close(self) -> None:
        """Wait for commits in progress, whose callers may have gone."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def read(self, digest: str) -> bytes:
        """The bytes of a small blob (config, manifest), verified. Raises NotFound or DataLoss."""
        return await asyncio.to_thread(self.blobs.read, digest)

    def path(self, digest: str) -> str:
        """The file of a blob that is here. Raises InvalidArgument for a malformed digest."""
        return self.blobs.path(digest)

    @asynccontextmanager
    async def lease(self, ttl_s: float = _DAY_S) -> AsyncIterator[Lease]:
        """A lease for one operation, given back when it succeeds.

        After a failure or a crash it stays until it expires, so that a second try finds what the first
        brought. With ``ttl_s=0`` nobody tries a second time, and ``spent`` is set.
        """
        key = uuid.uuid4().hex
        expires_ns = time.time_ns() + int(ttl_s * 1e9)
        self.held.add(key)
        try:
            await self.database.run(
                lambda it: it.execute("INSERT INTO leases VALUES (?, ?)", (key, expires_ns))
            )
            yield Lease(self, key)
            await self._give_back(key)
        except BaseException:
            if not ttl_s:
                self.spent.set()
            raise
        finally:
            self.held.discard(key)

    async def _give_back(self, key: str) -> None:
        """Drop a lease that is needed no more; if that fails, what it was taken for is done all the same."""
        try:
            await self.database.run(lambda it: it.execute("DELETE FROM leases WHERE id = ?", (key,)))
        except OnggiError as error:
            logger.warning("lease %s stays until it expires: %s", key, error)
            self.spent.set()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """``await work``, which goes on to its end even if the caller is cancelled."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a caller who has gone does not ask


def opened(make: Callable[[], BlobWriter]) -> AbstractAsyncContextManager[BlobWriter]:
    """A writer, made in a thread and closed at the end, also where the caller is cancelled meanwhile."""
    return opening.opened(make, lambda writer: writer.close())


class Lease:
    """What one operation uses; garbage collection keeps it."""

    def __init__(self, content: Content, key: str) -> None:
        self._content, self._key = content, key

    async def have_blob(self, digest: str) -> int | None:
        """The size of a blob if it is here. It is protected from now on, here or still to come."""
        query = "SELECT size FROM blobs WHERE digest = ?"
        row = await self._protect("blob", digest, query)
        return int(row[0]) if row else None

    async def have_layer(self, chain_id: str) -> bool:
        """Whether an unpacked layer is here. It is protected from now on, with the layers below it."""
        return await self._protect("layer", chain_id, "SELECT 1 FROM layers WHERE chain_id = ?") is not None

    async def put(self, data: bytes, *, durable: bool = True) -> str:
        """Keep a small document (config, manifest) and return its digest; see ``commit``."""

        def write(writer: BlobWriter) -> None:
            writer.write(data)

        async with opened(self._content.ingest.stream) as writer:
            await asyncio.to_thread(write, writer)
            return (await self.commit(writer, durable=durable)).digest

    def writer(self, digest: str, size: int) -> BlobWriter:
        """A writer that continues a partial download. Blocking, it hashes what is there: for a worker
        thread. Its owner closes it, and asks ``have_blob`` first.
        """
        return self._content.ingest.writer(digest, size)

    def stream(self) -> BlobWriter:
        """A writer of content whose digest is known at its end. Blocking; its owner closes it."""
        return self._content.ingest.stream()

    async def commit(self, writer: BlobWriter, digest: str = "", *, durable: bool = True) -> Blob:
        """Let a blob count: verified (against ``digest`` or what the writer knows), durable, with its row.

        One that is not to be ``durable`` survives a kill, and is settled by the next durable commit.

        Raises DataLoss if it is not what it should be, InvalidArgument or KernelError. A cancelled caller
        does not stop it.
        """
        return await self._content.finish(self._commit(writer, digest, durable))

    async def _commit(self, writer: BlobWriter, digest: str, durable: bool) -> Blob:
        database = self._content.database
        try:
            blob = await asyncio.to_thread(writer.finish, digest, durable=durable)
            if await self.have_blob(blob.digest) is not None:
                writer.discard()
                if durable:
                    await database.settle()
                return blob
            publish = self._content.blobs.publish
            await asyncio.to_thread(publish, writer.path, blob.digest, durable=durable)
        finally:
            writer.close()
        row = (*blob, time.time_ns())

        def write(connection: sqlite3.Connection) -> None:
            new = connection.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)", row).rowcount
            if new and not durable:
                database.unsettled.note(connection, "blob", blob.digest)

        await database.run(write, durable=durable)
        failpoint("store.blob.after_row")
        return blob

    async def _protect(self, kind: str, key: str, query: str) -> tuple[Any, ...] | None:
        def look(connection: sqlite3.Connection) -> tuple[Any, ...] | None:
            if not skipped("store.lease.protect"):
                item = (self._key, kind, key)
                connection.execute("INSERT OR IGNORE INTO lease_items VALUES (?, ?, ?)", item)
            row: tuple[Any, ...] | None = connection.execute(query, (key,)).fetchone()
            return row

        return await self._content.database.run(look)
