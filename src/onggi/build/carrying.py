"""Cache mounts as steps of one build have them, and as shared caches carry them (docs/decisions/0134).

What a shared cache brought is apart: a build that does not name the cache never meets it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from onggi.archive.extract import Limits
from onggi.build import cachefile, holders
from onggi.build.context import Place
from onggi.build.holders import Locks, Wish
from onggi.build.sharing import Carried, Imports
from onggi.build.workshop import COPY, Tell, Workshop, check_copy
from onggi.containers import pipes
from onggi.errors import OnggiError
from onggi.images.compress import Gzip
from onggi.images.streams import Chunks, batched, of_file
from onggi.kernel import files
from onggi.kernel.failpoints import failpoint
from onggi.oci.manifest import Descriptor
from onggi.store import opening, space
from onggi.store.content import Lease, opened
from onggi.store.ingest import Blob

First = Callable[[], Awaitable[str]]  # files that a new cache begins with


class CacheMounts:
    """Those of one build."""

    def __init__(self, workshop: Workshop, place: Place, locks: Locks, imports: Imports) -> None:
        self._workshop, self._place, self._locks, self._imports = workshop, place, locks, imports
        self._noted: dict[str, tuple[Wish, str]] = {}

    def note(self, wish: Wish, sharing: str) -> None:
        """A step of this build has this cache, whether it is done or found."""
        self._noted[holders.digest(wish)] = wish, sharing

    async def open(
        self, wish: Wish, sharing: str, first: First | None, stack: AsyncExitStack, tell: Tell
    ) -> str:
        """The path of a cache's files, the step's until the stack is left; what is here comes first."""
        carried = self._carried(wish)
        if carried:
            try:
                return await self._held(
                    _apart(wish, carried), sharing, partial(self._unpacked, carried), stack
                )
            except OnggiError as error:
                tell({"stream": f"[Warning] a cache mount of a cache is not used: {error}\n"})
        return await self._held(wish, sharing, first, stack)

    async def pack(self, lease: Lease) -> list[Descriptor]:
        """An archive of each cache that this build's steps have; one that nobody opened as it was brought."""
        found = []
        for name, (wish, sharing) in sorted(self._noted.items()):
            carried = self._carried(wish)
            async with self._locks.use(
                holders.digest(_apart(wish, carried) if carried else wish), sharing
            ) as directory:
                if os.path.lexists(f"{self._directory}/{directory}/fs"):
                    blob = await self._packed(lease, f"{self._directory}/{directory}")
                    found.append(cachefile.mount(name, blob.digest, blob.size))
                elif carried:
                    await carried.artifact.blob(carried.blob, lease)
                    found.append(carried.blob)
        return found

    @property
    def _directory(self) -> str:
        return f"{self._workshop.directory}/caches"

    def _carried(self, wish: Wish) -> Carried | None:
        name = holders.digest(wish)
        own = any(os.path.lexists(f"{self._directory}/{it}/fs") for it in (name, f"{name}.0"))
        return None if own else self._imports.mount(name)

    async def _held(self, wish: Wish, sharing: str, first: First | None, stack: AsyncExitStack) -> str:
        name = await stack.enter_async_context(self._locks.use(holders.digest(wish), sharing))
        path = f"{self._directory}/{name}"
        if first and not os.path.lexists(f"{path}/fs"):
            holders.begin(path, wish, await first())
        await asyncio.to_thread(holders.make, path, wish)
        return f"{path}/fs"

    async def _unpacked(self, carried: Carried) -> str:
        """The files of an archive that is verified, unpacked by a confined job; gone with the build."""
        directory = self._place.directory()
        async with self._workshop.content.lease(ttl_s=0) as lease, AsyncExitStack() as stack:
            path = await carried.artifact.blob(carried.blob, lease)
            file_fd = await stack.enter_async_context(opening.file(path))
            root_fd = stack.enter_context(files.directory(directory))
            limits = Limits(bytes=space.room(root_fd))._asdict()
            await pipes.feed(of_file(file_fd), lambda fd: self._workshop.job("unpack", limits, [fd, root_fd]))
        failpoint("build.carried.unpacked")
        return check_copy(directory, "the archive of a cache mount")

    async def _packed(self, lease: Lease, directory: str) -> Blob:
        arguments = {"path": "/fs", "name": COPY}
        with files.directory(directory) as root_fd:
            async with (
                pipes.output(lambda fd: self._workshop.job("pack", arguments, [root_fd, fd])) as pieces,
                opened(lease.stream) as writer,
            ):
                async for data in _zipped(pieces):
                    await asyncio.to_thread(writer.write, data)
                return await lease.commit(writer)


def _apart(wish: Wish, carried: Carried) -> Wish:
    return wish._replace(base=f"{wish.base}@{carried.blob.digest}")


async def _zipped(pieces: Chunks) -> Chunks:
    gzip = Gzip()
    async for batch in batched(pieces):
        yield await asyncio.to_thread(gzip.feed, batch)
    yield gzip.finish()
