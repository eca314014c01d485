"""Bytes between clients and jobs, through pipes: what one side does not take, the other cannot give."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

from onggi.containers.streams import readable
from onggi.images.decompress import Decompressor
from onggi.images.streams import batched
from onggi.kernel.files import write_all

Json = Any
Chunks = AsyncIterator[bytes]
_PIECE = 1 << 18


@asynccontextmanager
async def output(job: Callable[[int], Awaitable[Json]]) -> AsyncIterator[Chunks]:
    """What a job writes to the descriptor it is given, while it writes; then its error, if it raised one.

    Who leaves the context ends the job.
    """
    async with aclosing(cast(Any, _output(job))) as pieces:
        yield pieces


async def _output(job: Callable[[int], Awaitable[Json]]) -> AsyncIterator[bytes]:
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_fd, False)
    running = asyncio.ensure_future(_closing(job, write_fd))
    try:
        while data := await _read(read_fd):
            yield data
        await asyncio.shield(running)
    finally:
        os.close(read_fd)
        await _ended(running)


async def begun(stream: Chunks) -> Chunks:
    """The same stream, behind its first piece: what fails before that is raised here."""
    try:
        first = await anext(stream, b"")
    except BaseException:
        await cast(Any, stream).aclose()
        raise
    return _continued(first, stream)


async def _continued(first: bytes, stream: Chunks) -> AsyncIterator[bytes]:
    async with aclosing(cast(Any, stream)):
        if first:
            yield first
        async for piece in stream:
            yield piece


async def feed(chunks: Chunks, job: Callable[[int], Awaitable[Json]]) -> Json:
    """Give a job a tar stream, decompressed here (never by a program), and return its answer. Raises its
    error, or that of the stream.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    running = asyncio.ensure_future(_closing(job, read_fd))
    writing: asyncio.Future[None] | None = None
    try:
        decompressor = Decompressor()
        async for batch in batched(chunks):
            writing = asyncio.ensure_future(asyncio.to_thread(_write, write_fd, decompressor.feed(batch)))
            await asyncio.shield(writing)
        writing = asyncio.ensure_future(asyncio.to_thread(_write, write_fd, decompressor.finish()))
        await asyncio.shield(writing)
    except BrokenPipeError:
        pass  # the job stopped reading: its answer says why
    except BaseException:
        await _ended(running, write_fd, writing)
        raise
    os.close(write_fd)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await _ended(running)  # who leaves may be about to remove what the job works on
        raise


async def _ended(
    running: asyncio.Future[Json], write_fd: int = -1, writing: asyncio.Future[None] | None = None
) -> None:
    """Wait for a job whose stream was cut, whatever becomes of it, and for the thread that feeds it."""
    if writing is not None:
        await asyncio.wait([writing])
    if write_fd >= 0:
        os.close(write_fd)
    await asyncio.wait([running])
    if not running.cancelled():
        running.exception()  # looked at


def _write(fd: int, pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        write_all(fd, piece)


async def _closing(job: Callable[[int], Awaitable[Json]], fd: int) -> Json:
    """The job, which has a copy of the descriptor, and then ours closed."""
    try:
        return await job(fd)
    finally:
        os.close(fd)


async def _read(fd: int) -> bytes:
    """The next bytes of a pipe that does not block, empty at its end."""
    await asyncio.sleep(0)  # a fast job must not keep the loop from others
    while True:
        try:
            return os.read(fd, _PIECE)
        except BlockingIOError:
            await readable(fd)
