"""The service behind ``docker import``, ``load``, ``save``, ``commit``, ``pull`` and ``push``.

Every call that takes long is an iterator of docker's progress messages; arguments are checked before the
first. A client that leaves ends the work, unless others ask for the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from onggi.images.committing import Committer, CommitWish
from onggi.images.flights import Flights, Workers
from onggi.images.hostbase import Seals
from onggi.images.importer import Importer, Wish, config_of
from onggi.images.layering import Intake
from onggi.images.loading import Loader
from onggi.images.saving import Saver
from onggi.images.service import Images
from onggi.images.streams import Chunks
from onggi.images.tools import Tools
from onggi.oci.platform import Platform
from onggi.store.content import Content
from onggi.store.layers import Layers

Json = Any
_THREADS = 16


class Transfers:
    """Moves images of one store."""

    def __init__(self, content: Content, layers: Layers, images: Images, seal_key: str) -> None:
        self._content, self._images = content, images
        self._workers = Workers(_THREADS)
        self._own: Flights[Any] = Flights()
        tools = Tools(content, Intake(content, layers), images, self._workers, Seals(seal_key))
        self._importer, self._committer = Importer(tools), Committer(tools)
        self._loader, self._saver = Loader(tools), Saver(tools)

    def close(self) -> None:
        """Let go of threads."""
        self._workers.close()

    def import_(
        self,
        chunks: Chunks,
        *,
        reference: str | None = None,
        changes: Sequence[str] = (),
        message: str = "",
        platform: str | None = None,
    ) -> AsyncIterator[Json]:
        """Make an image of one layer from a tar of a root file system: plain, gzip, zstd, xz or bzip2.

        The last message is ``{"status": "sha256:…"}``. Raises InvalidArgument or Conflict at once; the
        iterator raises what the archive earns.
        """
        wish = Wish(
            self._images.new_reference(reference) if reference else None,
            config_of(changes, message, platform),
        )
        return self._own.follow(object(), lambda progress: self._importer.run(chunks, wish, progress))

    def load(self, chunks: Chunks, platform: Platform | None = None) -> AsyncIterator[Json]:
        """Take in the images of an archive. Raises what the archive earns."""
        return self._own.follow(object(), lambda progress: self._loader.load(chunks, platform, progress))

    async def commit(self, chunks: Chunks, wish: CommitWish) -> str:
        """An image of what a container changed; its id. Raises InvalidArgument, or what the tar earns."""
        return await self._committer.run(chunks, wish)

    async def save(self, names: Sequence[str], platform: Platform | None = None) -> AsyncIterator[bytes]:
        """An archive of images, ready when this returns. Raises NotFound in docker's words."""
        stream = self._save(names, platform)
        await anext(stream)  # the images are found and held, or it raises
        return stream

    async def _save(self, names: Sequence[str], platform: Platform | None) -> AsyncIterator[bytes]:
        async with self._content.lease() as lease:
            chosen = await self._saver.choose(lease, names, platform)
            yield b""
            async for piece in self._saver.archive(chosen):
                yield piece
