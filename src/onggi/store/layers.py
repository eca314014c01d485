"""Unpacked layers: one directory per chain id, shared by all images, made by confined jobs.

A layer is first a snapshot directory without a row (an orphan, should we die), and becomes one by
``record`` in the caller's transaction, behind one ``syncfs``. Layers that no image and no container stands
on are removed by ``gc``.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from errno import EPIPE
from hashlib import sha256
from typing import Any

import msgspec

from onggi.archive.extract import Limits
from onggi.errors import InvalidArgument, KernelError
from onggi.kernel import files
from onggi.kernel.failpoints import failpoint
from onggi.kernel.files import write_all
from onggi.oci.digest import chain_ids
from onggi.store import implied, space
from onggi.store.durable import sync_tree
from onggi.store.layout import Layout, make_private
from onggi.store.snapshots import Snapshots

Json = Any
Part = tuple[Iterator[bytes], int]
Source = AsyncIterator[Part]
RunJob = Callable[[str, Json, Sequence[int]], Awaitable[Json]]
_PIPE, _AHEAD = 1 << 20, 8  # bytes that a pipe holds, pieces (of up to a megabyte) that wait for it
_TOGETHER = 4  # parts of a source for which a thread is awoken once
_WRITE_OUT_EVERY = 32 << 20  # bytes of a source; a disk that gets its work early has little left at the end
_RATIO, _RATIO_FROM = 100, 1 << 30  # plain bytes per compressed one, where more than so many are plain


class Layer(msgspec.Struct, frozen=True):
    """A layer that is unpacked; ``size`` is bytes of file data, ``implied`` are directories to be settled."""

    number: int
    diff_id: str
    size: int
    implied: list[str] = []
    durable: bool = True


class Feed:
    """The pipe to an unpacking job: counts plain tar bytes, and writes and hashes them in a thread of its
    own, which leaves its callers' threads to who compresses them or takes them from a blob.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._digest = sha256()
        self.compressed = self.plain = 0
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._broken = False
        self._thread = threading.Thread(target=self._pass_on, name="unpack", daemon=True)
        self._thread.start()

    def write(self, parts: Sequence[Part]) -> None:
        """Pass on what some compressed bytes gave. Blocking. Raises InvalidArgument for a decompression
        bomb.
        """
        for pieces, compressed in parts:
            self.compressed += compressed
            self._write(pieces)

    def _write(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            self.plain += len(piece)
            if self.plain > _RATIO_FROM and self.plain > _RATIO * self.compressed:
                raise InvalidArgument(f"archive unpacks to more than {_RATIO} times its size")
            self._pieces.put(piece)
            self._check()

    def diff_id(self) -> str:
        """The digest of all plain bytes, once it is finished."""
        return "sha256:" + self._digest.hexdigest()

    def finish(self) -> None:
        """Write what waits and end the stream. Blocking."""
        self.close()
        self._check()

    def close(self) -> None:
        """End the stream. Blocking, and idempotent."""
        if self._fd >= 0:
            self._pieces.put(None)
            self._thread.join()
            os.close(self._fd)
            self._fd = -1

    def _check(self) -> None:
        if self._broken:
            raise _JobEnded  # its answer says why

    def _pass_on(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if not self._broken:
                try:
                    write_all(self._fd, piece)
                except OSError:
                    self._broken = True  # and whoever waits to put is let through
                self._digest.update(piece)  # while the job unpacks it


class _JobEnded(Exception):
    """The job stopped reading."""


class Layers:
    """Makes and removes layers."""

    def __init__(self, layout: Layout, snapshots: Snapshots, run_job: RunJob) -> None:
        self._layout, self._snapshots, self._run_job = layout, snapshots, run_job
        self.driver_name = snapshots.driver.name
        self._writing: dict[int, list[asyncio.Task[None]]] = {}  # by number: on its way to the disk
        self._unwritten = 0  # bytes of sources since it was begun last

    @asynccontextmanager
    async def unpack(
        self, source: Source, *, whole: bool = False, durable: bool = True
    ) -> AsyncIterator[Layer]:
        """Unpack what ``source`` yields (plain pieces, compressed count); the body must ``settle`` and
        ``record`` the layer.

        ``whole``: it is a root file system, in which whiteouts have no place. One that is not ``durable`` is
        settled by the next durable commit. Whatever is not recorded when
        the body ends is removed again. Raises the job's errors.
        """
        number = self._snapshots.begin_layer()
        try:
            make_private(self._layout.snapshot(number))
            job = "unpack" if whole else self._snapshots.driver.job
            layer = await self._fill(number, self._written_early(number, source), job)
            if durable:  # it goes to the disk while the next layer is unpacked; ``settle`` waits for it
                self._write_out(number)
            yield msgspec.structs.replace(layer, durable=durable)
        finally:
            await asyncio.gather(*self._writing.pop(number, []), return_exceptions=True)
            await self._snapshots.end_layer(number)

    async def settle(self, layer: Layer, parents: Sequence[str]) -> Layer:
        """Make the layer durable (if it is to be), with directories that it only implies as they are in its
        ``parents`` (diff ids, base first), which have their rows. Comes before ``record``.
        """
        await asyncio.gather(*self._writing.pop(layer.number, []))
        chain = list(reversed(chain_ids(parents)))
        if layer.implied and chain:
            below = await self._snapshots.database.run(lambda it: self.directories(it, chain))
            await asyncio.to_thread(self._settle, layer, below)
        return msgspec.structs.replace(layer, implied=[])

    async def compare(self, number: int, source: Source) -> tuple[str, Json]:
        """Compare a layer's directory with what ``source`` yields: the diff id of that, and what the job
        ``compare_layer`` answers. Raises its errors.
        """
        with files.directory(f"{self._layout.snapshot(number)}/fs") as root_fd:
            feed, answer = await self._pump(root_fd, source, "compare_layer")
        return feed.diff_id(), answer

    def record(self, connection: sqlite3.Connection, layer: Layer, parents: Sequence[str] = ()) -> str:
        """Give the layer its row, above layers of ``parents`` (diff ids, base first), and return its chain
        id.

        A layer that exists already is kept as it is.
        """
        assert not (layer.implied and parents), "a layer above others is settled first"
        chain = chain_ids([*parents, layer.diff_id])
        parent = chain[-2] if len(chain) > 1 else None
        if connection.execute("SELECT 1 FROM layers WHERE chain_id = ?", (chain[-1],)).fetchone() is None:
            connection.execute("INSERT INTO snapshots VALUES (?, 'layer', ?, x'')", (layer.number, chain[-1]))
            row = (chain[-1], parent, layer.diff_id, layer.number, layer.size, time.time_ns())
            connection.execute("INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?, NULL)", row)
            if not layer.durable:
                self._snapshots.database.unsettled.note(connection, "layer", chain[-1])
            failpoint("store.layer.before_commit")
        return chain[-1]

    def replace(self, connection: sqlite3.Connection, chain_id: str, layer: Layer) -> None:
        """Let a settled layer take the place of one of the same content whose directory is gone."""
        change = "UPDATE layers SET number = ?, disk = NULL WHERE chain_id = ?"
        connection.execute(change, (layer.number, chain_id))
        change = "UPDATE snapshots SET number = ? WHERE kind = 'layer' AND key = ?"
        connection.execute(change, (layer.number, chain_id))
        self._snapshots.forget_layers()

    def directories(self, connection: sqlite3.Connection, chain: Sequence[str]) -> list[str]:
        """Where layers lie, in the order asked for."""
        query = "SELECT number FROM layers WHERE chain_id = ?"
        rows = [connection.execute(query, (chain_id,)).fetchone() for chain_id in chain]
        return [f"{self._layout.snapshot(row[0])}/fs" for row in rows if row]

    def sizes(self, connection: sqlite3.Connection, chain: Sequence[str]) -> list[int]:
        """Bytes of file data of each layer."""
        query = "SELECT size FROM layers WHERE chain_id = ?"
        rows = [connection.execute(query, (chain_id,)).fetchone() for chain_id in chain]
        return [row[0] if row else 0 for row in rows]

    def _settle(self, layer: Layer, below: Sequence[str]) -> None:
        with files.directory(f"{self._layout.snapshot(layer.number)}/fs") as root_fd:
            implied.adopt(root_fd, below, layer.implied, durable=layer.durable)

    async def _written_early(self, number: int, source: Source) -> Source:
        """The same, while what came so far goes to the disk from time to time."""
        async for pieces, compressed in source:
            yield pieces, compressed
            self._unwritten += compressed
            busy = any(not task.done() for tasks in self._writing.values() for task in tasks)
            if self._unwritten > _WRITE_OUT_EVERY and not busy:
                self._unwritten = 0
                self._write_out(number)

    def _write_out(self, number: int) -> None:
        """Begin to make durable what is there; ``settle`` hears of an error, which is told only once."""
        work = asyncio.to_thread(_write_out, f"{self._layout.snapshot(number)}/fs")
        self._writing.setdefault(number, []).append(asyncio.create_task(work))

    async def _fill(self, number: int, source: Source, job: str) -> Layer:
        root = f"{self._layout.snapshot(number)}/fs"
        os.mkdir(root, 0o700)
        os.chmod(root, 0o755)
        with files.directory(root) as root_fd:
            feed, answer = await self._pump(root_fd, source, job)
        return Layer(number, feed.diff_id(), int(answer["bytes"]), answer.get("implied") or [])

    async def _pump(self, root_fd: int, source: Source, name: str) -> tuple[Feed, Json]:
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, _PIPE)
        feed = Feed(write_fd)
        running: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._start(name, read_fd, root_fd))]
        job = running[0]
        try:
            waiting = list[Part]()
            async for part in source:
                # What comes next is read while this is hashed and compressed.
                waiting.append(part)
                if len(waiting) == _TOGETHER or all(task.done() for task in running[1:]):
                    waiting = await _hand_over(waiting, feed, running)
            await _hand_over(waiting, feed, running)
            await asyncio.gather(*map(asyncio.shield, running[1:]))
            await asyncio.to_thread(feed.finish)
            return feed, await job
        except _JobEnded:
            await job  # raises what stopped it
            raise KernelError("unpack", EPIPE) from None
        finally:
            job.cancel()
            # A thread that writes still needs the descriptor; the end of the job wakes it.
            await asyncio.gather(*running, return_exceptions=True)
            await asyncio.to_thread(feed.close)

    async def _start(self, name: str, read_fd: int, root_fd: int) -> Json:
        limits = Limits(bytes=space.room(root_fd))._asdict()
        try:
            return await self._run_job(name, limits, [read_fd, root_fd])
        finally:
            os.close(read_fd)


async def _hand_over(parts: list[Part], feed: Feed, running: list[asyncio.Future[Any]]) -> list[Part]:
    """Have parts written, the one task behind the job in ``running``, once it is done; returns what waits."""
    await asyncio.gather(*map(asyncio.shield, running[1:]))
    running[1:] = [asyncio.ensure_future(asyncio.to_thread(feed.write, parts))]
    return []


def _write_out(path: str) -> None:
    with files.directory(path) as fd:
        sync_tree(fd)
