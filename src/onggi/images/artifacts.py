"""Layers one by one, out of a registry or an OCI layout, and manifests that name them: for caches of builds.

What comes is verified as of an image: documents by size and digest, blobs by digest, layers by diff id.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import BinaryIO, Protocol

from onggi.errors import DataLoss, InvalidArgument, NotFound
from onggi.images.bundle import DirectoryBundle
from onggi.images.layout import REF_NAME, blob_name, check_document
from onggi.images.manifests import Document
from onggi.images.progress import Progress, Transfer
from onggi.images.pulling import Pull, Puller
from onggi.images.streams import of_file
from onggi.images.tools import RemoteWish, Tools
from onggi.oci import media
from onggi.oci.manifest import Descriptor, Index, Manifest, parse
from onggi.oci.reference import Reference
from onggi.registry.credentials import Keyring
from onggi.registry.repository import Repository
from onggi.registry.session import Session
from onggi.store.blobs import MAX_DOCUMENT
from onggi.store.content import Lease, opened


class Artifact(Protocol):
    """One that was found, to be read."""

    manifest: Manifest

    async def config(self) -> bytes:
        """The configuration that the manifest names."""
        ...

    async def layer(self, found: Descriptor, diff_ids: Sequence[str]) -> None:
        """Have the last of these layers above the others. Raises DataLoss if it is another."""
        ...

    async def blob(self, found: Descriptor, lease: Lease) -> str:
        """The file of any other content, verified, kept by the lease. Raises DataLoss."""
        ...


class _Remote:
    def __init__(self, tools: Tools, pull: Pull, manifest: Manifest) -> None:
        self._tools, self._pull, self.manifest = tools, pull, manifest

    async def config(self) -> bytes:
        _check_size(self.manifest.config)
        await self._pull.download(self.manifest.config, Transfer(), "")
        return await self._tools.content.read(self.manifest.config.digest)

    async def layer(self, found: Descriptor, diff_ids: Sequence[str]) -> None:
        await self._pull.layer(found, diff_ids, ())

    async def blob(self, found: Descriptor, lease: Lease) -> str:
        await self._pull.download(found, Transfer(), "")
        await lease.have_blob(found.digest)
        return self._tools.content.path(found.digest)


class _Layout:
    def __init__(self, tools: Tools, path: str, lease: Lease) -> None:
        self._tools, self._path, self._lease = tools, path, lease
        self.manifest: Manifest

    async def find(self, wanted: str) -> None:
        """Read the manifest of a tag or digest; of the only one without."""
        index = parse(await self._document("index.json"), media.OCI_INDEX)
        entries = index.manifests if isinstance(index, Index) else []
        if wanted:
            entries = [it for it in entries if wanted in (it.digest, it.annotations.get(REF_NAME))]
        if len(entries) != 1:
            raise NotFound(f"{self._path} has {len(entries)} caches of this name")
        data = await self._document(blob_name(entries[0].digest))
        check_document(data, entries[0])
        manifest = parse(data, entries[0].media_type)
        if not isinstance(manifest, Manifest):
            raise InvalidArgument(f"{self._path}: a cache in the form of an index is not supported")
        self.manifest = manifest

    async def config(self) -> bytes:
        _check_size(self.manifest.config)
        data = await self._document(blob_name(self.manifest.config.digest))
        check_document(data, self.manifest.config)
        return data

    async def layer(self, found: Descriptor, diff_ids: Sequence[str]) -> None:
        async with AsyncExitStack() as stack:
            bundle = DirectoryBundle(self._path, self._tools, self._lease, stack)
            arrival = await bundle.layer(blob_name(found.digest))
            if arrival is None or arrival.raw != found.digest:
                raise DataLoss(f"{self._path}: {found.digest} has other content than its name says")
            await self._tools.intake.record(arrival, diff_ids[:-1], diff_ids[-1])

    async def blob(self, found: Descriptor, lease: Lease) -> str:
        async with AsyncExitStack() as stack:
            bundle = DirectoryBundle(self._path, self._tools, self._lease, stack)
            fd = bundle.open(blob_name(found.digest))
            stack.callback(os.close, fd)
            if os.fstat(fd).st_size != found.size:
                raise DataLoss(f"{self._path}: {found.digest} has another size than the manifest says")
            writer = await stack.enter_async_context(opened(lease.stream))
            async for data in of_file(fd):
                await self._tools.workers.run(partial(writer.write, data))
            await lease.commit(writer, found.digest)
        return self._tools.content.path(found.digest)

    async def _document(self, name: str) -> bytes:
        async with AsyncExitStack() as stack:
            bundle = DirectoryBundle(self._path, self._tools, self._lease, stack)
            return await self._tools.workers.run(partial(bundle.document, name))


class Artifacts:
    """Those of one store's builds."""

    def __init__(self, tools: Tools, puller: Puller) -> None:
        self._tools, self._puller = tools, puller

    @asynccontextmanager
    async def remote(self, reference: Reference, keyring: Keyring, lease: Lease) -> AsyncIterator[Artifact]:
        """What a registry has by this name, for this machine's platform. Raises NotFound and others."""
        with Session(self._puller.settings, keyring) as session:
            repository = session.repository(reference)
            pull = Pull(self._puller, RemoteWish(reference, None, keyring), lease, repository, Progress())
            named = await pull.call(repository.resolve)
            yield _Remote(self._tools, pull, (await pull.choose(named))[1])

    async def layout(self, path: str, wanted: str, lease: Lease) -> Artifact:
        """What an OCI layout on this machine has. Raises NotFound, InvalidArgument, KernelError."""
        found = _Layout(self._tools, path, lease)
        await found.find(wanted)
        return found

    async def push(self, document: Document, reference: Reference, keyring: Keyring) -> None:
        """Send what the registry lacks, then the manifest. Every blob is here."""
        with Session(self._puller.settings, keyring) as session:
            repository = session.repository(reference, pushing=True)
            push = partial(self._push, repository, document, reference)
            await self._tools.workers.run(push, repository.cancel.set)

    def _push(self, repository: Repository, document: Document, reference: Reference) -> None:
        for blob in (document.manifest.config, *document.manifest.layers):
            if repository.has_blob(blob.digest) is None:
                repository.upload(blob.digest, blob.size, partial(self._opened, blob.digest))
        repository.put_manifest(reference.tag, document.data, document.manifest.media_type)

    def _opened(self, digest: str) -> BinaryIO:
        return open(self._tools.content.path(digest), "rb")


def _check_size(config: Descriptor) -> None:
    if config.size > MAX_DOCUMENT:
        raise InvalidArgument(f"configuration of {config.size} bytes: too large")
