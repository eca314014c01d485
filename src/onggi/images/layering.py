"""Brings layers in: what arrives is kept as a compressed blob and unpacked, in one pass where it streams by.

A layer that comes from a registry is a blob first, verified before any of it is used (rule R11). One that
comes in an archive or from a container is hashed, kept and unpacked at the same time; what is not compressed
in a way that registries know is kept as gzip.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from onggi.errors import DataLoss
from onggi.images.compress import Gzip
from onggi.images.decompress import Decompressor, plain_size
from onggi.images.progress import Transfer
from onggi.images.streams import PIECE, Chunks, batched
from onggi.kernel.failpoints import failpoint
from onggi.oci import media
from onggi.store import opening, space
from onggi.store.content import Content, Lease, opened
from onggi.store.ingest import Blob, BlobWriter
from onggi.store.layers import Layer, Layers

Json = Any
_KEPT = ("gzip", "zstd")
Source = AsyncIterator[tuple[Iterator[bytes], int]]


class Arrival(NamedTuple):
    """A layer that is unpacked but has no row yet, and the blob it is kept as.

    ``raw`` is the digest of the bytes that came; empty for a compression that is not kept (xz, bzip2).
    ``kept`` is done when the blob is durable: what stands behind it in a stream is taken in meanwhile.
    """

    layer: Layer
    digest: str
    media_type: str
    raw: str
    kept: asyncio.Task[Blob] | None = None


class Intake:
    """Takes layers into the store."""

    def __init__(self, content: Content, layers: Layers) -> None:
        self._content, self._layers = content, layers

    @asynccontextmanager
    async def from_stream(
        self, lease: Lease, chunks: Chunks, *, whole: bool = False, durable: bool = True
    ) -> AsyncIterator[Arrival]:
        """Keep and unpack a stream: plain or compressed tar, of a layer or of a ``whole`` file system.

        The body of the context must ``record`` it. See ``Lease.commit`` of what is not ``durable``.
        """
        async with opened(lease.stream) as writer:
            keeper = _Keeper(writer)
            source = keeper.source(chunks)
            async with self._layers.unpack(source, whole=whole, durable=durable) as layer:
                digest, raw = writer.digest, keeper.raw(writer.digest, layer.diff_id)
                kept = asyncio.ensure_future(lease.commit(writer, durable=durable))
                try:
                    yield Arrival(layer, digest, keeper.media_type, raw, kept)
                finally:
                    await asyncio.wait([kept])

    @asynccontextmanager
    async def from_blob(self, digest: str, media_type: str, transfer: Transfer) -> AsyncIterator[Arrival]:
        """Unpack a blob that is here. The body of the context must ``record`` it."""
        path = self._content.path(digest)
        async with opening.file(path) as fd:
            transfer.total = os.fstat(fd).st_size
            space.require(os.path.dirname(path), plain_size(fd), f"layer {digest}")
            async with self._layers.unpack(_from_file(fd, transfer)) as layer:
                yield Arrival(layer, digest, media_type, digest)

    async def compare(self, number: int, digest: str) -> tuple[str, Json]:
        """Compare a layer's directory with a blob that is here, see ``Layers.compare``."""
        async with opening.file(self._content.path(digest)) as fd:
            return await self._layers.compare(number, _from_file(fd, Transfer(os.fstat(fd).st_size)))

    async def record(self, arrival: Arrival, parents: Sequence[str], diff_id: str = "") -> str:
        """Give the layer its row above ``parents`` (diff ids, base first), durably unless it came otherwise;
        returns its chain id.

        Raises DataLoss if it is not the layer that ``diff_id`` promises.
        """
        check_diff_id(arrival, diff_id)
        if arrival.kept is not None:
            await asyncio.shield(arrival.kept)
        settled = arrival._replace(layer=await self._layers.settle(arrival.layer, parents))
        durable = settled.layer.durable
        chain_id = await self._content.database.run(
            lambda it: self.rows(it, settled, parents), durable=durable
        )
        failpoint("images.layer.after_row")
        return chain_id

    async def place(self, arrival: Arrival, parents: Sequence[str]) -> bool:
        """``record`` for an arrival that may have its place above other layers already; False if so."""
        query, key = "SELECT 1 FROM snapshots WHERE number = ?", (arrival.layer.number,)
        if await self._content.database.run(lambda it: it.execute(query, key).fetchone()):
            return False
        await self.record(arrival, parents)
        return True

    def rows(self, connection: sqlite3.Connection, arrival: Arrival, parents: Sequence[str]) -> str:
        """``record`` for a caller with a durable transaction of his own."""
        keep_blob(connection, arrival.digest, arrival.layer.diff_id, arrival.media_type)
        return self._layers.record(connection, arrival.layer, parents)


def check_diff_id(arrival: Arrival, diff_id: str) -> None:
    """Raise DataLoss, in docker's words, if the content is not what the image's config says."""
    if diff_id and arrival.layer.diff_id != diff_id:
        raise DataLoss(
            f"layers from manifest don't match image configuration: {arrival.digest} unpacks to "
            f"{arrival.layer.diff_id}, expected {diff_id}"
        )


def keep_blob(connection: sqlite3.Connection, digest: str, diff_id: str, media_type: str) -> None:
    """Note that a blob is a form of a layer."""
    connection.execute("INSERT OR REPLACE INTO layer_blobs VALUES (?, ?, ?)", (digest, diff_id, media_type))


class _Keeper:
    """Passes a stream on to be unpacked, and keeps it in a form that registries know."""

    def __init__(self, writer: BlobWriter) -> None:
        self._writer = writer
        self._decompressor = Decompressor()
        self._gzip: Gzip | None = None
        self._waiting = b""  # raw bytes from before the format is known

    @property
    def media_type(self) -> str:
        """What the blob is."""
        return media.layer_type(media.OCI_MANIFEST, "gzip" if self._gzip else self._decompressor.format)

    def raw(self, kept: str, diff_id: str) -> str:
        """The digest of the bytes that came."""
        if self._gzip is None:
            return kept
        return "" if self._decompressor.format else diff_id

    async def source(self, chunks: Chunks) -> Source:
        """What ``Layers.unpack`` takes; the work is done where the pieces are asked for, in its threads."""
        async for raw in batched(chunks):
            yield self._pieces(raw), len(raw)
        yield self._last(), 0

    def _pieces(self, raw: bytes) -> Iterator[bytes]:
        self._waiting += raw
        plain = self._decompressor.feed(raw)
        first = next(plain, b"")
        if self._decompressor.begun:
            self._begin()
        yield from self._kept(first)
        for piece in plain:
            yield from self._kept(piece)

    def _begin(self) -> None:
        """The format is known: raw bytes are written as they are, or plain ones from here on."""
        if self._gzip is None and self._decompressor.format not in _KEPT:
            self._gzip = Gzip()
        if self._gzip is None:
            self._writer.write(self._waiting)
        self._waiting = b""

    def _kept(self, piece: bytes) -> Iterator[bytes]:
        if piece:
            yield piece  # to be unpacked while it is compressed
        if self._gzip is not None and piece:
            self._writer.write(self._gzip.feed(piece))

    def _last(self) -> Iterator[bytes]:
        plain = self._decompressor.finish()
        first = next(plain, b"")
        self._begin()
        yield from self._kept(first)
        for piece in plain:
            yield from self._kept(piece)
        if self._gzip is not None:
            self._writer.write(self._gzip.finish())


async def _from_file(fd: int, transfer: Transfer) -> Source:
    decompressor = Decompressor()

    def pieces() -> Iterator[bytes]:
        data = os.read(fd, PIECE)
        transfer.current += len(data)
        yield from decompressor.feed(data)

    left = transfer.total
    while left > 0:
        yield pieces(), min(left, PIECE)
        left -= PIECE
    yield decompressor.finish(), 0
