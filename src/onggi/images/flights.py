"""Work that several clients ask for at once and that is done once: it ends when the last of them leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from onggi.images.progress import Messages, Progress

T = TypeVar("T")


class _Flight(Generic[T]):
    def __init__(self, task: asyncio.Task[T], progress: Progress) -> None:
        self.task, self.progress = task, progress
        self.askers = 0
        self.leaving = False


class Flights(Generic[T]):
    """Tasks by what they do. Everything runs on one event loop."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    async def share(self, key: Hashable, work: Callable[[Progress], Coroutine[Any, Any, T]]) -> T:
        """The result of the work of this name, begun now or joined."""
        async with self._aboard(key, work) as flight:
            return await asyncio.shield(flight.task)

    async def follow(self, key: Hashable, work: Callable[[Progress], Coroutine[Any, Any, T]]) -> Messages:
        """The messages of the work of this name, from the first; raises what it raises."""
        async with self._aboard(key, work) as flight:
            async for message in flight.progress.follow(flight.task):
                yield message

    @asynccontextmanager
    async def _aboard(
        self, key: Hashable, work: Callable[[Progress], Coroutine[Any, Any, T]]
    ) -> AsyncIterator[_Flight[T]]:
        flight = await self._joined(key, work)
        flight.askers += 1
        try:
            yield flight
        finally:
            flight.askers -= 1
            if not flight.askers and not flight.task.done():
                flight.leaving = True
                flight.task.cancel()
                # The next to ask must not meet what this one is still cleaning up.
                await asyncio.wait([flight.task])

    async def _joined(self, key: Hashable, work: Callable[[Progress], Coroutine[Any, Any, T]]) -> _Flight[T]:
        while (flight := self._flights.get(key)) and flight.leaving:
            await asyncio.wait([flight.task])
        if flight is None:
            progress = Progress()
            flight = self._flights[key] = _Flight(asyncio.ensure_future(work(progress)), progress)
            flight.task.add_done_callback(lambda task: self._landed(key, task))
        return flight

    def _landed(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # told to whoever still asks; nobody may


async def together(*works: Awaitable[None]) -> None:
    """All of them at once; the first error ends the others, and is raised when they have ended."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Workers:
    """Threads for long transfers: the loop's own few threads stay free for short work."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="transfer")

    async def run(self, call: Callable[[], T], stop: Callable[[], None] | None = None) -> T:
        """``call()`` in a thread; a cancelled caller calls ``stop`` and waits until the thread is done."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        future.add_done_callback(_asked)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if stop is not None:
                stop()
            await asyncio.wait([future])
            raise

    def close(self) -> None:
        """Let go of idle threads."""
        self._executor.shutdown(wait=False)


def _asked(future: asyncio.Future[T]) -> None:
    """Ask a future how it ended: asyncio logs it where nobody did, as behind a caller that was cancelled."""
    if not future.cancelled():
        future.exception()


class Locks:
    """Locks by name, which exist while somebody holds or awaits them. Everything runs on one event loop."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[None]:
        """Hold the lock of this name."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)
