"""``docker pull``: manifest, then what is not here: downloads in parallel, unpacked base first meanwhile.

Each blob is verified before it is used, each layer has its row as soon as it is unpacked, and a partial
download is continued: whatever ends a pull, the next one goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TypeVar

from onggi.errors import DataLoss, InvalidArgument, NotFound, Unsupported
from onggi.images.flights import Locks, together
from onggi.images.layering import Arrival
from onggi.images.progress import Progress, Transfer
from onggi.images.recording import Config, NewImage, parse_config
from onggi.images.tools import RemoteWish, Tools
from onggi.kernel.failpoints import failpoint
from onggi.oci import manifest as manifests
from onggi.oci.digest import chain_id, chain_ids, short
from onggi.oci.manifest import Descriptor, Index, Manifest, check_image, parse
from onggi.oci.platform import Platform, local
from onggi.registry.client import pause_s
from onggi.registry.failures import Transient
from onggi.registry.repository import Fetched, Repository
from onggi.registry.session import Session
from onggi.registry.settings import Settings
from onggi.store import space
from onggi.store.blobs import MAX_DOCUMENT
from onggi.store.content import Lease, opened
from onggi.store.ingest import BlobWriter

T = TypeVar("T")
_MAX_DEPTH = 4  # indexes inside indexes


class Puller:
    """Pulls images into one store."""

    def __init__(self, tools: Tools, settings: Settings) -> None:
        self.content, self.intake, self.images, self.workers, self.seals = tools
        self.settings = settings
        self.locks = Locks()
        self.turns = asyncio.Semaphore(settings.downloads)
        self.unpacking = asyncio.Semaphore(os.cpu_count() or 1)

    async def pull(self, wish: RemoteWish, progress: Progress) -> str:
        """Pull one image; returns its id."""
        with Session(self.settings, wish.keyring) as session:
            async with self.content.lease() as lease:
                return await Pull(self, wish, lease, session.repository(wish.reference), progress).run()

    async def tags(self, wish: RemoteWish) -> list[str]:
        """Every tag of a repository, for ``pull -a``."""
        with Session(self.settings, wish.keyring) as session:
            repository = session.repository(wish.reference)
            return await self.workers.run(lambda: list(repository.tags()), repository.cancel.set)


class Pull:
    """One image on its way in."""

    def __init__(
        self,
        puller: Puller,
        wish: RemoteWish,
        lease: Lease,
        repository: Repository,
        progress: Progress,
    ) -> None:
        self._puller, self._wish, self._lease = puller, wish, lease
        self._repository, self._progress = repository, progress

    async def run(self) -> str:
        reference = self._wish.reference
        named = await self.call(self._repository.resolve)
        # Behind the first answer: what fails before it is an answer of its own, not part of a stream.
        self._progress.say(
            f"Pulling from {reference.path}", reference.digest or reference.tag, progressDetail=None
        )
        fetched, manifest = await self.choose(named)
        check_image(manifest)
        config = await self._config(manifest)
        base = self._puller.seals.base_of(config.document, config.diff_ids)
        for it in {named.digest: named, fetched.digest: fetched}.values():
            await self._lease.put(it.data)
        await self._layers(manifest, config)
        failpoint("images.pull.before_row")
        new = NewImage(
            manifest.config.digest,
            config.diff_ids,
            base,
            manifests=[(fetched.digest, fetched.media_type)],
            sources=[(reference.name, named.digest)],
            names=[reference] if reference.tag and not reference.digest else [],
        )
        known = await self._known(new.id)
        await self._puller.images.record(new)
        await self._puller.images.announce("pull", reference.familiar, reference.familiar_name)
        self._conclude(named.digest, config, known)
        return new.id

    async def choose(self, named: Fetched) -> tuple[Fetched, Manifest]:
        """The manifest for the platform that is asked for; its siblings are left where they are."""
        fetched, document = named, parse(named.data, named.media_type)
        for _ in range(_MAX_DEPTH):
            if isinstance(document, Manifest):
                return fetched, document
            entry = manifests.choose(document, self._wish.platform or local())
            fetched = await self.call(partial(self._repository.resolve, entry.digest))
            document = _expected(fetched, entry)
        raise InvalidArgument(f"manifest lists are nested deeper than {_MAX_DEPTH}")

    async def _config(self, manifest: Manifest) -> Config:
        if manifest.config.size > MAX_DOCUMENT:
            raise InvalidArgument(f"image configuration of {manifest.config.size} bytes: too large")
        await self.download(manifest.config, Transfer(), "")
        config = parse_config(await self._puller.content.read(manifest.config.digest))
        if len(config.diff_ids) != len(manifest.layers):
            raise DataLoss(
                f"layers from manifest don't match image configuration: {len(manifest.layers)} layers, "
                f"{len(config.diff_ids)} diff ids"
            )
        if config.os not in ("", "linux"):
            raise Unsupported(f'image operating system "{config.os}" cannot be used on this platform')
        return config

    async def _layers(self, manifest: Manifest, config: Config) -> None:
        """Have every layer here. Downloads and unpacking overlap; rows are written base first."""
        chain = chain_ids(config.diff_ids)
        missing = [number for number in range(len(chain)) if not await self._lease.have_layer(chain[number])]
        news = missing or not await self._here(manifest.config.digest)
        for number, layer in enumerate(manifest.layers if news else []):
            status = "Pulling fs layer" if number in missing else "Already exists"
            self._progress.say(status, short(layer.digest))
        self._check_room([manifest.layers[number] for number in missing], manifest.config)
        tasks: list[asyncio.Task[None]] = []
        for number in missing:
            work = self.layer(manifest.layers[number], config.diff_ids[: number + 1], tasks[-1:])
            tasks.append(asyncio.ensure_future(work))
        await together(*tasks)

    def _check_room(self, layers: Sequence[Descriptor], config: Descriptor) -> None:
        """A disk that cannot even hold what is to be downloaded is told before the first byte."""
        place = os.path.dirname(self._puller.content.path(config.digest))
        space.require(place, sum(layer.size for layer in layers), self._wish.reference.familiar)

    async def layer(
        self, layer: Descriptor, diff_ids: Sequence[str], below: Sequence[asyncio.Task[None]]
    ) -> None:
        """Download and unpack a layer, and give it its row behind the one ``below``."""
        name, chain = short(layer.digest), chain_id(diff_ids)
        await self.download(layer, Transfer(layer.size), name)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._puller.locks.hold(chain))
            arrival = None
            if not await self._lease.have_layer(chain):
                arrival = await self._unpacked(layer, name, stack)
            await asyncio.gather(*below)
            if arrival is not None:
                failpoint("images.pull.before_layer")
                await self._puller.intake.record(arrival, diff_ids[:-1], diff_ids[-1])
        self._progress.say("Pull complete", name)

    async def _unpacked(self, layer: Descriptor, name: str, stack: AsyncExitStack) -> Arrival:
        async with self._puller.unpacking:
            transfer = Transfer(layer.size)
            self._progress.move("Extracting", name, transfer)
            blob = self._puller.intake.from_blob(layer.digest, layer.media_type, transfer)
            return await stack.enter_async_context(blob)

    async def download(self, descriptor: Descriptor, transfer: Transfer, shown_as: str) -> None:
        """Have a blob here. Whoever wants one that is on its way waits for it, and goes on if that ends."""
        async with self._puller.locks.hold(descriptor.digest):
            size = await self._lease.have_blob(descriptor.digest)
            if size is None:
                async with self._puller.turns:
                    if shown_as:
                        self._progress.move("Downloading", shown_as, transfer)
                    await self._fetch(descriptor, transfer, shown_as)
            elif size != descriptor.size:
                raise DataLoss(f"{descriptor.digest} has {size} bytes, the manifest says {descriptor.size}")
        if shown_as:
            self._progress.say("Download complete", shown_as)

    async def _fetch(self, descriptor: Descriptor, transfer: Transfer, shown_as: str) -> None:
        make = partial(self._lease.writer, descriptor.digest, descriptor.size)
        async with opened(make) as writer:
            await self.call(partial(self._receive_all, descriptor, writer, transfer))
            if shown_as:
                self._progress.say("Verifying Checksum", shown_as)
            failpoint("images.pull.before_commit")
            await self._lease.commit(writer)

    def _receive_all(self, descriptor: Descriptor, writer: BlobWriter, transfer: Transfer) -> None:
        """The blob's bytes, from where the writer is; what breaks off is gone on with. Blocking."""
        limits, failures = self._puller.settings.limits, 0
        while writer.offset < descriptor.size or not descriptor.size:
            before = writer.offset
            try:
                self._receive(descriptor, writer, transfer)
                return
            except Transient:
                failures = 1 if writer.offset > before else failures + 1
                if failures >= limits.attempts:
                    raise
                self._repository.cancel.sleep(pause_s(limits, failures))

    def _receive(self, descriptor: Descriptor, writer: BlobWriter, transfer: Transfer) -> None:
        transfer.current = writer.offset
        with self._repository.blob(descriptor.digest, writer.offset, descriptor.size) as blob:
            if blob.offset != writer.offset:
                writer.seek_back_to_zero()
            for chunk in blob.chunks:
                writer.write(chunk)
                transfer.current = writer.offset

    async def _here(self, image_id: str) -> bool:
        """Whether there is such an image; docker does not speak of its layers then."""
        with suppress(NotFound):
            return bool(await self._puller.images.get(image_id))
        return False

    async def _known(self, image_id: str) -> bool:
        """Whether the name stands for this image already."""
        with suppress(NotFound):
            return (await self._puller.images.get(str(self._wish.reference))).id == image_id
        return False

    def _conclude(self, digest: str, config: Config, known: bool) -> None:
        reference, wanted = self._wish.reference, self._wish.platform
        self._progress.say(f"Digest: {digest}")
        news = "Image is up to date" if known else "Downloaded newer image"
        self._progress.say(f"Status: {news} for {reference.familiar}")
        has = Platform(config.os, config.architecture, config.variant)
        if wanted and (wanted.os, wanted.architecture) != (has.os, has.architecture):
            self._progress.say(
                f"WARNING: image with reference {reference.familiar} was found but its platform ({has}) does "
                f"not match the specified platform ({wanted})"
            )

    async def call(self, call: Callable[[], T]) -> T:
        """The result of a call in a thread, which ends with the caller."""
        return await self._puller.workers.run(call, self._repository.cancel.set)


def _expected(fetched: Fetched, entry: Descriptor) -> Manifest | Index:
    if len(fetched.data) != entry.size:
        raise DataLoss(f"{entry.digest} has {len(fetched.data)} bytes, the manifest list says {entry.size}")
    return parse(fetched.data, fetched.media_type)
