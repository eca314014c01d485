"""Pieces of bytes on their way through threads: joined to a size that is worth a thread's attention."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from onggi.store import opening

PIECE = 1 << 20
Chunks = AsyncIterator[bytes]


async def batched(chunks: Chunks) -> AsyncIterator[bytes]:
    """The same bytes in pieces of a mebibyte or more, but for the last."""
    batch, size = list[bytes](), 0
    async for chunk in chunks:
        batch.append(bytes(chunk))
        size += len(chunk)
        if size >= PIECE:
            yield b"".join(batch)
            batch, size = [], 0
    if batch:
        yield b"".join(batch)


async def of_file(fd: int) -> AsyncIterator[bytes]:
    """A file from where it stands to its end; the descriptor stays its owner's."""
    while data := await opening.work(lambda: os.read(fd, PIECE)):
        yield data
