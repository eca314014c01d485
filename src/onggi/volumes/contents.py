"""The content of volumes as tar streams, out and in, by confined jobs (rule R10, CVE-2023-0778)."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol

from onggi.archive.extract import Limits
from onggi.errors import KernelError, Unsupported
from onggi.store import space
from onggi.store.durable import sync_tree
from onggi.volumes import options
from onggi.volumes.registry import Registry

Json = Any
Chunks = AsyncIterator[bytes]
ToPipe = Callable[[int], Awaitable[Json]]
RunJob = Callable[[str, Json, Sequence[int]], Awaitable[Json]]


class Pipes(Protocol):
    """Bytes between clients and jobs; what this room needs of ``containers.pipes``."""

    def output(self, job: ToPipe) -> AbstractAsyncContextManager[Chunks]: ...

    async def begun(self, stream: Chunks) -> Chunks: ...

    async def feed(self, chunks: Chunks, job: ToPipe) -> Json: ...


class Contents:
    """``onggi volume export`` and ``import``."""

    def __init__(self, registry: Registry, run_job: RunJob, pipes: Pipes) -> None:
        self._registry, self._run_job, self._pipes = registry, run_job, pipes
        self._numbers = itertools.count(1)

    async def export(self, name: str) -> Chunks:
        """Everything in a volume as a tar, its own directory as ``./``. Raises NotFound, Unsupported."""
        self._directory(name)
        return await self._pipes.begun(self._export(name))

    async def import_(self, name: str, chunks: Chunks) -> Json:
        """Unpack a tar, plain or compressed, into a volume; what is there is merged with what comes.

        An empty volume gets owner and mode of the archive's ``./`` too. Answers how many ``entries`` and
        ``bytes`` came. Raises NotFound, Unsupported, InvalidArgument.
        """
        with self._opened(name, "import") as fd:
            empty = not await asyncio.to_thread(os.listdir, fd)
            limits = Limits(bytes=space.room(fd))._asdict()
            merging = {"path": "/", "keep_kinds": False, "owner": None}
            job, arguments = ("unpack", limits) if empty else ("copy_in", merging)
            answer = await self._pipes.feed(chunks, lambda pipe: self._run_job(job, arguments, [pipe, fd]))
            await asyncio.to_thread(sync_tree, fd)
        return answer

    async def _export(self, name: str) -> Chunks:
        arguments = {"path": "/", "name": "."}
        with self._opened(name, "export") as fd:
            async with self._pipes.output(
                lambda pipe: self._run_job("pack", arguments, [fd, pipe])
            ) as pieces:
                async for piece in pieces:
                    yield piece

    @contextmanager
    def _opened(self, name: str, why: str) -> Iterator[int]:
        """A descriptor of the content; the volume is in use meanwhile."""
        path, holder = self._directory(name), f"{why} {next(self._numbers)}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError("open", error.errno or 0, path) from None
        self._registry.hold(name, holder)
        try:
            yield fd
        finally:
            os.close(fd)
            self._registry.let_go(holder)

    def _directory(self, name: str) -> str:
        volume = self._registry.get(name)
        source = options.source(volume.options, self._registry.directories.data(name))
        if source.fstype:
            raise Unsupported(f"volume {name} is mounted by its containers only: use `cp` with one that runs")
        return source.device
