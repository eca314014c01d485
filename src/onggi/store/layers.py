"""Unpacked layers: one directory per chain id, shared by all images, made by confined jobs.

A layer is first a snapshot directory without a row (an orphan, should we die), and becomes one by
``record`` in the caller's transaction, behind one ``syncfs``. Layers that no image and no container stands
on are removed by ``gc``.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from errno import EPIPE
from hashlib import sha256
from typing import Any

import msgspec

from onggi.archive.extract import Limits
from onggi.errors import InvalidArgument, KernelError
from onggi.oci.digest import chain_ids
from onggi.store import space
from onggi.store.durable import sync_tree
from onggi.store.layout import Layout, make_private
from onggi.store.snapshots import Snapshots

Json = Any
RunJob = Callable[[str, Json, Sequence[int]], Awaitable[Json]]
_RATIO, _RATIO_FROM = 100, 1 << 30  # plain bytes per compressed one, where more than so many are plain


class Layer(msgspec.Struct, frozen=True):
    """A layer; ``size`` is bytes of file data."""

    number: int
    diff_id: str
    size: int


class Feed:
    """The pipe to an unpacking job: takes plain tar bytes in worker threads, counts and hashes them."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._digest = sha256()
        self.compressed = self.plain = 0

    def write(self, pieces: Iterator[bytes], compressed: int) -> None:
        """Pass on what some compressed bytes gave. Blocking. Raises InvalidArgument for a decompression
        bomb.
        """
        self.compressed += compressed
        for piece in pieces:
            self.plain += len(piece)
            if self.plain > _RATIO_FROM and self.plain > _RATIO * self.compressed:
                raise InvalidArgument(f"archive unpacks to more than {_RATIO} times its size")
            self._digest.update(piece)
            self._pass_on(piece)

    def diff_id(self) -> str:
        """The digest of all plain bytes."""
        return "sha256:" + self._digest.hexdigest()

    def close(self) -> None:
        """End the stream. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _pass_on(self, piece: bytes) -> None:
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except BrokenPipeError:
            raise _JobEnded from None  # its answer says why


class _JobEnded(Exception):
    """The job stopped reading."""


class Layers:
    """Makes and removes layers."""

    def __init__(self, layout: Layout, snapshots: Snapshots, run_job: RunJob) -> None:
        self._layout, self._snapshots, self._run_job = layout, snapshots, run_job

    @asynccontextmanager
    async def unpack(self, source: AsyncIterator[tuple[Iterator[bytes], int]]) -> AsyncIterator[Layer]:
        """Unpack what ``source`` yields (plain pieces, compressed count); the body must ``record`` the layer.

        Whatever is not recorded when the body ends is removed again. Raises the job's errors.
        """
        number = self._snapshots.number()
        directory = self._layout.snapshot(number)
        try:
            make_private(directory)
            yield await self._fill(directory, number, source)
        finally:
            await self._snapshots.drop_unless_recorded(number)

    def record(self, connection: sqlite3.Connection, layer: Layer, parents: Sequence[str] = ()) -> str:
        """Give the layer its row, above layers of ``parents`` (diff ids, base first), and return its chain
        id.

        A layer that exists already is kept as it is.
        """
        chain = chain_ids([*parents, layer.diff_id])
        parent = chain[-2] if len(chain) > 1 else None
        if connection.execute("SELECT 1 FROM layers WHERE chain_id = ?", (chain[-1],)).fetchone() is None:
            connection.execute("INSERT INTO snapshots VALUES (?, 'layer', ?, x'')", (layer.number, chain[-1]))
            row = (chain[-1], parent, layer.diff_id, layer.number, layer.size, time.time_ns())
            connection.execute("INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?)", row)
        return chain[-1]

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

    async def _fill(
        self, directory: str, number: int, source: AsyncIterator[tuple[Iterator[bytes], int]]
    ) -> Layer:
        root = f"{directory}/fs"
        os.mkdir(root, 0o700)
        os.chmod(root, 0o755)
        root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            feed, size = await self._pump(root_fd, source)
            await asyncio.to_thread(sync_tree, root_fd)
        finally:
            os.close(root_fd)
        return Layer(number, feed.diff_id(), size)

    async def _pump(
        self, root_fd: int, source: AsyncIterator[tuple[Iterator[bytes], int]]
    ) -> tuple[Feed, int]:
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        feed = Feed(write_fd)
        running = [asyncio.ensure_future(self._start(read_fd, root_fd))]
        job = running[0]
        try:
            async for pieces, compressed in source:
                running[1:] = [asyncio.ensure_future(asyncio.to_thread(feed.write, pieces, compressed))]
                await asyncio.shield(running[1])
            feed.close()
            return feed, int((await job)["bytes"])
        except _JobEnded:
            await job  # raises what stopped it
            raise KernelError("unpack", EPIPE) from None
        finally:
            job.cancel()
            # A thread that writes still needs the descriptor; the end of the job wakes it.
            await asyncio.gather(*running, return_exceptions=True)
            feed.close()

    async def _start(self, read_fd: int, root_fd: int) -> Json:
        limits = Limits(bytes=space.room(root_fd))._asdict()
        try:
            return await self._run_job("unpack", limits, [read_fd, root_fd])
        finally:
            os.close(read_fd)
