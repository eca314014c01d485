"""What is opened in a thread for somebody, used in threads, and closed at the end.

Also where he is cancelled meanwhile: the thread goes on, and nobody would take what it made.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def work(call: Callable[[], T]) -> T:
    """What ``call`` gives in a thread. Raises CancelledError only when that has ended: what it used may be
    closed then, and its number be another file's.
    """
    working = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


@asynccontextmanager
async def opened(make: Callable[[], T], close: Callable[[T], None]) -> AsyncIterator[T]:
    """What ``make`` gives. Both calls may block."""
    making = asyncio.ensure_future(asyncio.to_thread(make))
    try:
        found = await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(partial(_close_late, close))
        raise
    try:
        yield found
    finally:
        await asyncio.shield(asyncio.to_thread(close, found))


def descriptor(make: Callable[[], int]) -> AbstractAsyncContextManager[int]:
    """A descriptor that ``make`` gives, or -1 where it gives none."""
    return opened(make, _close)


def file(path: str) -> AbstractAsyncContextManager[int]:
    """A descriptor of a file to be read."""
    return descriptor(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _close_late(close: Callable[[T], None], making: asyncio.Task[T]) -> None:
    if not making.cancelled() and making.exception() is None:
        close(making.result())
