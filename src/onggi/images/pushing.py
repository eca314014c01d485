"""``docker push``: what the registry lacks, in parallel, then the manifest that names it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import BinaryIO, TypeVar

from onggi.errors import Conflict, NotFound
from onggi.images import manifests
from onggi.images.flights import together
from onggi.images.manifests import Document
from onggi.images.progress import Progress, Transfer
from onggi.images.recording import NewImage
from onggi.images.tools import RemoteWish, Tools
from onggi.kernel.failpoints import failpoint
from onggi.oci import platform as platforms
from onggi.oci.digest import short
from onggi.oci.image import HOST, Image
from onggi.oci.manifest import Descriptor
from onggi.oci.platform import Platform
from onggi.oci.reference import Reference
from onggi.registry.repository import Repository
from onggi.registry.session import Session
from onggi.registry.settings import Settings
from onggi.store.content import Lease

T = TypeVar("T")
_MOST_ORIGINS = 3  # each costs a question for each layer


class Pusher:
    """Pushes images of one store."""

    def __init__(self, tools: Tools, settings: Settings) -> None:
        self.tools, self.settings = tools, settings
        self.turns = asyncio.Semaphore(settings.uploads)

    async def push(self, wish: RemoteWish, progress: Progress) -> None:
        """Push one tag, or all tags of a repository. Raises NotFound in docker's words if there is none."""
        reference = wish.reference
        if wish.platform and reference.tag:  # an answer of its own, before anything is told
            await self._check_platform(reference, wish.platform)
        progress.say(f"The push refers to repository [{reference.name}]")
        tags = await self._tags(reference)
        with Session(self.settings, wish.keyring) as session:
            repository = session.repository(reference, pushing=True)
            for tag in tags:
                if wish.platform:
                    await self._check_platform(tag, wish.platform)
                async with self.tools.content.lease() as lease:
                    await _Push(self, tag, lease, repository, progress).run()

    async def _check_platform(self, tag: Reference, platform: Platform) -> None:
        image = await self.tools.images.get(tag.familiar)
        platforms.require(tag.familiar, platforms.of_config(image.config), platform)

    async def _tags(self, reference: Reference) -> list[Reference]:
        if reference.digest:
            raise Conflict("cannot push a digest reference")
        catalog = self.tools.images.catalog
        found = await self.tools.content.database.run(lambda it: catalog.tags_of(it, reference.name))
        tags = [tag for tag, _ in found if reference.tag in ("", tag.tag)]
        if reference.familiar_name == HOST:
            raise Conflict(f"the image {HOST} is a view of this machine and cannot be pushed")
        if not tags:
            raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
        return tags


class _Push:
    """One tag on its way out."""

    def __init__(
        self, pusher: Pusher, tag: Reference, lease: Lease, repository: Repository, progress: Progress
    ) -> None:
        self._pusher, self._tag, self._lease = pusher, tag, lease
        self._repository, self._progress = repository, progress
        self._content = pusher.tools.content

    async def run(self) -> None:
        image = await self._pusher.tools.images.get(str(self._tag))
        document = await self._document(image)
        layers = list(zip(document.manifest.layers, image.layers, strict=True))
        for _, diff_id in layers:
            self._progress.say("Preparing", short(diff_id))
        origins = await self._content.database.run(lambda it: _origins(it, self._tag))
        distinct = {layer.digest: (layer, diff_id) for layer, diff_id in layers}.values()
        await together(
            self._config(document.manifest.config),
            *(self._layer(layer, short(diff_id), origins) for layer, diff_id in distinct),
        )
        failpoint("images.push.before_manifest")
        put = partial(
            self._repository.put_manifest, self._tag.tag, document.data, document.manifest.media_type
        )
        await self._call(put)
        await self._note(image, document)
        await self._pusher.tools.images.announce("push", self._tag.familiar, self._tag.familiar_name)
        self._conclude(document)

    async def _document(self, image: Image) -> Document:
        blobs = self._content.blobs
        document = await self._content.database.run(lambda it: manifests.of_image(it, blobs, image))
        for digest in (image.id, *(layer.digest for layer in document.manifest.layers)):
            await self._lease.have_blob(digest)
        return document

    async def _layer(self, layer: Descriptor, name: str, origins: list[str]) -> None:
        async with self._pusher.turns:
            if await self._call(lambda: self._repository.has_blob(layer.digest)) is not None:
                self._progress.say("Layer already exists", name)
                return
            for origin in origins:
                if await self._call(partial(self._repository.mount, layer.digest, origin)):
                    self._progress.say(f"Mounted from {origin}", name)
                    return
            transfer = Transfer(layer.size)
            self._progress.move("Pushing", name, transfer)
            await self._upload(layer, transfer)
            self._progress.say("Pushed", name)

    async def _config(self, descriptor: Descriptor) -> None:
        if await self._call(lambda: self._repository.has_blob(descriptor.digest)) is None:
            await self._upload(descriptor, Transfer())

    async def _upload(self, descriptor: Descriptor, transfer: Transfer) -> None:
        path = self._content.path(descriptor.digest)

        def count(sent: int) -> None:
            transfer.current = sent

        def opened() -> BinaryIO:
            return open(path, "rb")

        await self._call(partial(self._repository.upload, descriptor.digest, descriptor.size, opened, count))

    async def _note(self, image: Image, document: Document) -> None:
        """The image has this digest in that repository from now on."""
        await self._lease.put(document.data)
        new = NewImage(
            image.id,
            image.layers,
            manifests=[(document.digest, document.manifest.media_type)],
            sources=[(self._tag.name, document.digest)],
        )
        await self._pusher.tools.images.describe(new)

    def _conclude(self, document: Document) -> None:
        size, tag = len(document.data), self._tag.tag
        self._progress.say(f"{tag}: digest: {document.digest} size: {size}")
        self._progress.tell(
            {"progressDetail": {}, "aux": {"Tag": tag, "Digest": document.digest, "Size": size}}
        )

    async def _call(self, call: Callable[[], T]) -> T:
        return await self._pusher.tools.workers.run(call, self._repository.cancel.set)


def _origins(connection: sqlite3.Connection, tag: Reference) -> list[str]:
    """Repositories of the same registry that may have layers of the image: paths without the registry."""
    query = "SELECT DISTINCT repository FROM sources ORDER BY repository"
    prefix = f"{tag.domain}/"
    found = [str(row[0]) for row in connection.execute(query)]
    return [it.removeprefix(prefix) for it in found if it.startswith(prefix) and it != tag.name][
        :_MOST_ORIGINS
    ]
