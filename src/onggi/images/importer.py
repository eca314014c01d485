"""Parts of ``docker import``: the new config, the decompressed stream, and progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from onggi.errors import InvalidArgument
from onggi.images import changes as image_changes
from onggi.images.decompress import Decompressor
from onggi.images.views import rfc3339
from onggi.oci import platform as platforms

Json = Any
Source = AsyncIterator[tuple[Iterator[bytes], int]]
_BATCH = 1 << 20  # bytes handed to a worker thread at once
_PROGRESS_S = 0.1


class Progress:
    """How many bytes have come; wakes whoever reports it."""

    def __init__(self) -> None:
        self.bytes = 0

    async def until(self, work: asyncio.Task[str]) -> AsyncIterator[Json]:
        """A message whenever something came, at most ten a second, until the work is done."""
        reported = 0
        while not work.done():
            await asyncio.wait([work], timeout=_PROGRESS_S)
            if self.bytes != reported:
                reported = self.bytes
                detail = {"current": reported}
                yield {"status": "Importing", "progressDetail": detail, "progress": _size(reported)}


async def decompressed(stream: AsyncIterator[bytes], progress: Progress) -> Source:
    """The plain stream, in pieces that worker threads compute, each with the count of compressed bytes
    behind it.
    """
    decompressor = Decompressor()
    batch: list[bytes] = []
    size = 0
    async for chunk in stream:
        batch.append(bytes(chunk))
        size += len(chunk)
        progress.bytes += len(chunk)
        if size >= _BATCH:
            yield decompressor.feed(b"".join(batch)), size
            batch, size = [], 0
    yield decompressor.feed(b"".join(batch)), size
    yield decompressor.finish(), 0


def config_of(changes: Sequence[str], message: str, platform: str | None) -> Json:
    """An image config without layers. Raises InvalidArgument for a bad change or a platform that is not
    linux.
    """
    wanted = platforms.parse(platform) if platform else platforms.local()
    if wanted.os != "linux":
        raise InvalidArgument(f"operating system is not supported: {wanted.os}")
    now = rfc3339(time.time_ns())
    variant = {"variant": wanted.variant} if platform and wanted.variant else {}
    return {
        "created": now,
        "architecture": wanted.architecture,
        **variant,
        "os": wanted.os,
        "config": image_changes.apply({}, changes),
        "history": [{"created": now, "comment": message or "Imported from -"}],
    }


def finished(config: Json, diff_id: str) -> Json:
    """The config with its only layer."""
    return config | {"rootfs": {"type": "layers", "diff_ids": [diff_id]}}


def _size(count: int) -> str:
    """Bytes for people, as docker's progress shows them: ``12.3MB``."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.4g}{units[0]}"
