"""A blob on its way from upstream, read by everybody who wants it while it comes.

Readers follow the file that the download writes. The last byte is held back until the digest is verified: who
reads to the end has the blob, and nobody has what only looks like it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial

from onggi.errors import DataLoss
from onggi.images.streams import PIECE
from onggi.store import opening

Fetch = Callable[["Download"], Awaitable[None]]
_NEWS_EVERY = 256 << 10  # bytes between two wake-ups of the readers


class Download:
    """One blob; ``fetch`` opens it, advances it and ends when it is verified. Lives on one event loop."""

    def __init__(self, size: int, fetch: Fetch) -> None:
        self.size = size
        self._loop = asyncio.get_running_loop()
        self._fd = -1
        self._arrived = self._told = 0
        self._news = self._loop.create_future()
        self._readers = 0
        self._task = asyncio.ensure_future(fetch(self))
        self._task.add_done_callback(self._ended)

    @property
    def leaving(self) -> bool:
        """It has ended or been given up: a new reader needs another one."""
        return self._task.done() or self._task.cancelling() > 0

    async def over(self) -> None:
        """Wait for its end, however it ends."""
        await asyncio.wait([self._task])

    def open(self, path: str, offset: int) -> None:
        """Let readers at the file, of which so much is there; it keeps its content when it is renamed."""
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._tell(offset)

    def advance(self, offset: int) -> None:
        """So many bytes are there. From any thread."""
        if offset < self._told or offset - self._told >= _NEWS_EVERY or offset == self.size:
            self._told = offset
            self._loop.call_soon_threadsafe(self._tell, offset)

    async def read(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Bytes as they come; raises what ends the download. The last reader who leaves ends it."""
        self._readers += 1
        try:
            while start < end:
                ready = await self._ready(start, end)
                data = await opening.work(partial(os.pread, self._fd, min(PIECE, ready - start), start))
                if not data and not self._task.done():  # it was begun anew meanwhile
                    await asyncio.shield(self._news)
                    continue
                if not data:
                    raise DataLoss("a downloaded file is shorter than its blob")
                start += len(data)
                yield data
        finally:
            self._readers -= 1
            await self._left()

    async def _ready(self, start: int, end: int) -> int:
        """Up to where bytes can be read, at least one from ``start``."""
        while True:
            if self._task.done():
                self._task.result()
                return end
            here = min(self._arrived, self.size - 1)
            if self._fd >= 0 and here > start:
                return min(here, end)
            await asyncio.shield(self._news)

    async def _left(self) -> None:
        if self._readers:
            return
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        with suppress(OSError):
            if self._fd >= 0:
                os.close(self._fd)
        self._fd = -1

    def _tell(self, offset: int) -> None:
        self._arrived = offset
        self._wake()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # readers are told; there may be none
        self._wake()

    def _wake(self) -> None:
        if not self._news.done():
            self._news.set_result(None)
        self._news = self._loop.create_future()
