"""What the embedded registry serves: repositories of their own, and every image of the store by its name.

A pushed document lies in the repository it was pushed to, whatever it is; it becomes an image of the store
when somebody pulls it. Names of images are repositories that can be read: ``debian`` is
``docker.io/library/debian``. Where both exist, what was pushed comes first.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TypeVar

from onggi.errors import DataLoss, InvalidArgument, NotFound
from onggi.images import manifests, pushed
from onggi.images.catalog import Catalog
from onggi.images.pushed import Kept
from onggi.images.streams import PIECE
from onggi.kernel.failpoints import failpoint
from onggi.oci import reference as references
from onggi.oci.image import Image
from onggi.registry.server import names
from onggi.registry.server.documents import Document, Referrer
from onggi.registry.server.refusals import Denied, NameInvalid
from onggi.registry.server.storage import Blob, Stored, WrongDigest
from onggi.store import opening
from onggi.store.content import Content
from onggi.store.gc import Collector, Garbage
from onggi.store.ingest import BlobWriter

T = TypeVar("T")
_LOCAL = "this belongs to an image of the engine, which serves it but lets nobody delete it from here"


class Serving:
    """A registry's storage over one store."""

    def __init__(self, content: Content, collector: Collector, catalog: Catalog) -> None:
        self._content, self._collector, self._catalog = content, collector, catalog

    # blobs

    async def blob(self, repository: str, digest: str) -> Blob | None:
        """See ``storage.Reading``."""
        kept = await self._run(lambda it: self._visible(it, repository, digest))
        return self.opened(kept) if kept else None

    def opened(self, kept: Kept) -> Blob:
        """A blob that is here, to be read."""
        return Blob(kept.size, lambda start, end: _read(self._content.path(kept.content), start, end))

    async def mount(self, repository: str, digest: str, source: str) -> bool:
        """See ``storage.Writing``."""

        def mount(connection: sqlite3.Connection) -> bool:
            kept = self._visible(connection, source, digest)
            if kept:
                pushed.link(connection, repository, digest, kept)
            return kept is not None

        return await self._run(mount)

    async def unlink(self, repository: str, digest: str) -> bool:
        """See ``storage.Writing``. Raises Denied for blobs of images."""

        def unlink(connection: sqlite3.Connection) -> bool:
            if pushed.unlink(connection, repository, digest):
                return True
            if self._of_image(connection, repository, digest):
                raise Denied(message=_LOCAL)
            return False

        return await self._run(unlink)

    async def upload(self, repository: str) -> Incoming:
        """See ``storage.Writing``."""
        return Incoming(self._content, repository, await asyncio.to_thread(self._content.ingest.stream))

    # documents

    async def manifest(self, repository: str, reference: str) -> Stored | None:
        """See ``storage.Reading``."""
        found = await self._run(lambda it: pushed.manifest(it, repository, reference))
        if found:
            digest, content, media_type = found
            return Stored(digest, media_type, await self._content.read(content))
        return await self._run(lambda it: self._made(it, repository, reference))

    async def keep(
        self, repository: str, document: Document, tags: Sequence[str], *, partial: bool = False
    ) -> Sequence[str]:
        """See ``storage.Writing``. ``partial``: what it needs may come later (a cache)."""

        def write(connection: sqlite3.Connection) -> list[str]:
            missing = [] if partial else self._missing(connection, repository, document)
            if not missing:
                pushed.record(connection, repository, document, content, tags)
            return missing

        async with self._content.lease() as lease:
            content = await lease.put(document.data)
            failpoint("images.serve.before_row")
            missing = await self._content.database.run(write, durable=True)
        failpoint("images.serve.after_row")
        return missing

    async def untag(self, repository: str, tag: str) -> bool:
        """See ``storage.Writing``. Raises Denied for names of images."""

        def untag(connection: sqlite3.Connection) -> bool:
            if pushed.untag(connection, repository, tag):
                return True
            if tag in self._local_tags(connection, repository):
                raise Denied(message=_LOCAL)
            return False

        return await self._run(untag)

    async def remove(self, repository: str, digest: str) -> bool:
        """See ``storage.Writing``. What nothing needs any more goes with it."""

        def remove(connection: sqlite3.Connection) -> tuple[bool, Garbage | None]:
            removed = pushed.remove(connection, repository, digest)
            if not removed and self._made(connection, repository, digest):
                raise Denied(message=_LOCAL)
            return removed, self._collector.collect(connection) if removed else None

        def discard(result: tuple[bool, Garbage | None]) -> None:
            if result[1]:
                self._collector.discard(result[1])

        return (await self._content.database.run(remove, durable=True, frees=True, after=discard))[0]

    async def tags(self, repository: str) -> list[str] | None:
        """See ``storage.Reading``."""

        def tags(connection: sqlite3.Connection) -> list[str] | None:
            found = pushed.tags(connection, repository) | set(self._local_tags(connection, repository))
            return sorted(found) if found or pushed.exists(connection, repository) else None

        return await self._run(tags)

    async def referrers(self, repository: str, digest: str) -> list[Referrer]:
        """See ``storage.Reading``."""
        return await self._run(lambda it: pushed.referrers(it, repository, digest))

    async def repositories(self) -> list[str]:
        """See ``storage.Reading``."""

        def every(connection: sqlite3.Connection) -> list[str]:
            images = [it for it in self._catalog.every(connection) if it.base is None]
            tagged = {references.parse(tag).familiar_name for image in images for tag in image.tags}
            return sorted(filter(_can_be_asked_for, pushed.repositories(connection) | tagged))

        return await self._run(every)

    # what lies behind names

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._content.database.run(work)

    def _visible(self, connection: sqlite3.Connection, repository: str, digest: str) -> Kept | None:
        found = pushed.blob(connection, repository, digest)
        return found or (self._of_image(connection, repository, digest) if repository else None)

    def _missing(self, connection: sqlite3.Connection, repository: str, document: Document) -> list[str]:
        """What a document needs and the repository lacks; blobs of images are linked on the way."""
        missing = [it for it in document.manifests if not pushed.manifest(connection, repository, it)]
        for digest in document.blobs:
            if pushed.blob(connection, repository, digest):
                continue
            if kept := self._of_image(connection, repository, digest):
                pushed.link(connection, repository, digest, kept)
            else:
                missing.append(digest)
        return missing

    def _images(self, connection: sqlite3.Connection, repository: str) -> dict[str, Image]:
        """The images of a name, by tag; none that stands on this machine's own tree."""
        try:
            reference = references.parse(repository)
        except InvalidArgument:
            return {}
        found = {
            tag.tag: self._catalog.load(connection, image_id)
            for tag, image_id in self._catalog.tags_of(connection, reference.name)
        }
        return {tag: image for tag, image in found.items() if image.base is None}

    def _local_tags(self, connection: sqlite3.Connection, repository: str) -> Sequence[str]:
        return list(self._images(connection, repository))

    def _of_image(self, connection: sqlite3.Connection, repository: str, digest: str) -> Kept | None:
        row = connection.execute("SELECT size FROM blobs WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            return None
        query = "SELECT diff_id FROM layer_blobs WHERE digest = ?"
        layer = connection.execute(query, (digest,)).fetchone()
        for image in self._images(connection, repository).values():
            if digest == image.id or (layer and layer[0] in image.layers):
                return Kept(digest, int(row[0]))
        return None

    def _made(self, connection: sqlite3.Connection, repository: str, reference: str) -> Stored | None:
        """The manifest of an image, by its tag or by the manifest's digest."""
        images = self._images(connection, repository)
        by_digest = names.is_digest(reference)
        asked = images.values() if by_digest else [images[reference]] if reference in images else []
        for image in asked:
            try:
                found = manifests.of_image(connection, self._content.blobs, image)
            except NotFound:
                continue  # no archive of one of its layers is kept
            if not by_digest or found.digest == reference:
                return Stored(found.digest, found.manifest.media_type, found.data)
        return None


class Incoming:
    """A blob on its way into a repository."""

    def __init__(self, content: Content, repository: str, writer: BlobWriter) -> None:
        self._content, self._repository, self._writer = content, repository, writer

    @property
    def offset(self) -> int:
        """Bytes that are here."""
        return self._writer.offset

    async def append(self, pieces: AsyncIterator[bytes]) -> None:
        """See ``storage.Upload``."""
        batch, size = list[bytes](), 0
        try:
            async for piece in pieces:
                batch.append(piece)
                size += len(piece)
                if size >= PIECE:
                    ready, batch, size = batch, [], 0
                    await self._write(ready)
        finally:
            if batch:
                await self._write(batch)

    async def _write(self, pieces: Sequence[bytes]) -> None:
        """Not left before the thread has ended: the writer takes one at a time."""
        await opening.work(lambda: self._writer.write(b"".join(pieces)))

    async def finish(self, digest: str) -> None:
        """See ``storage.Upload``."""
        native = digest.startswith("sha256:")
        async with self._content.lease() as lease:
            try:
                found = await lease.commit(self._writer, digest if native else "")
            except DataLoss:
                raise WrongDigest(digest) from None
            named = found.digest if native else await asyncio.to_thread(self._hash, found.digest, digest)
            failpoint("images.serve.before_link")
            if named == digest:
                kept = Kept(found.digest, found.size)
                await self._content.database.run(lambda it: pushed.link(it, self._repository, digest, kept))
        failpoint("images.serve.after_link")
        if named != digest:
            raise WrongDigest(digest)

    async def cancel(self) -> None:
        """See ``storage.Upload``."""
        await asyncio.to_thread(self._writer.discard)

    def _hash(self, content: str, like: str) -> str:
        algorithm = like.partition(":")[0]
        with open(self._content.path(content), "rb") as file:
            return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


async def _read(path: str, start: int, end: int) -> AsyncIterator[bytes]:
    """A part of a file, which stays whole while it is read even if it is removed."""
    async with opening.file(path) as fd:
        while start < end:
            data = await opening.work(partial(os.pread, fd, min(PIECE, end - start), start))
            if not data:
                raise DataLoss(f"{path} is shorter than its row says")
            start += len(data)
            yield data


def _can_be_asked_for(name: str) -> bool:
    """Whether clients can spell a name: not those of mirrors, and no port or capitals in a domain."""
    try:
        return bool(names.repository(name))
    except NameInvalid:
        return False
