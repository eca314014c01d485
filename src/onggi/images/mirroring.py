"""A pull-through cache: what a mirror of another registry serves.

Upstream is asked for tags each time, by HEAD; where it cannot be reached, the cache answers. What has a
digest never changes: it is fetched once, while its first readers read it, and served from here afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from onggi.errors import Forbidden, NotFound, OnggiError, Unauthenticated, Unavailable
from onggi.images import pushed
from onggi.images.flights import Workers
from onggi.images.following import Download
from onggi.images.pushed import Kept
from onggi.images.serving import Serving
from onggi.kernel.failpoints import failpoint
from onggi.oci.reference import DEFAULT_DOMAIN
from onggi.registry.failures import Transient
from onggi.registry.repository import Fetched, Repository
from onggi.registry.server import documents, names
from onggi.registry.server.documents import Referrer
from onggi.registry.server.refusals import NoSuchPage
from onggi.registry.server.storage import Blob, Stored
from onggi.store.content import Content, Lease, opened
from onggi.store.ingest import Blob as Wanted
from onggi.store.ingest import BlobWriter

T = TypeVar("T")
_OFFICIAL = "library/"
log = logging.getLogger(__name__)
_DOWNLOADS, _QUESTIONS = 5, 3  # at once
_ATTEMPTS = 3  # without progress between two
_MOST_SIZES = 10_000
_QUIET_S = 15.0  # after a failure, in which upstream is not asked for what is here
_ABSENT = (NotFound, Unauthenticated, Forbidden)


Connect = Callable[[str], Repository]


class Mirror:
    """The reading side of a registry, over one upstream and the store."""

    def __init__(self, content: Content, serving: Serving, domain: str, connect: Connect) -> None:
        self._content, self._serving, self._connect = content, serving, connect
        self._prefix, self._is_hub = f"{pushed.MIRROR}{domain}/", domain == DEFAULT_DOMAIN
        self._workers = Workers(_DOWNLOADS + _QUESTIONS)
        self._turns = asyncio.Semaphore(_DOWNLOADS)
        self._downloads: dict[str, Download] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[Stored | None]] = {}
        self._sizes: dict[tuple[str, str], int] = {}  # blobs that upstream has said it has
        self._quiet_until = 0.0

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        self._workers.close()

    # what a registry reads

    async def blob(self, repository: str, digest: str) -> Blob | None:
        """See ``storage.Reading``. Nothing is fetched before it is read."""
        key = self._key(repository)
        kept = await self._run(lambda it: pushed.blob(it, key, digest) or pushed.needed(it, key, digest))
        if kept:
            return self._serving.opened(kept)
        if not digest.startswith("sha256:"):
            return None
        size = self._sizes.get((repository, digest))
        if size is None:
            size = await self._present(repository, lambda it: it.has_blob(digest))
            if size is None:
                return None
            self._remember(repository, digest, size)
        wanted = Wanted(digest, size)
        return Blob(size, lambda start, end: self._stream(repository, wanted, start, end))

    async def manifest(self, repository: str, reference: str) -> Stored | None:
        """See ``storage.Reading``. Who asks for the same at once is answered once."""
        asked = (repository, reference)
        if asked not in self._asking:
            task = self._asking[asked] = asyncio.ensure_future(self._manifest(repository, reference))
            task.add_done_callback(lambda it: self._answered(asked, it))
        return await asyncio.shield(self._asking[asked])

    async def tags(self, repository: str) -> list[str] | None:
        """See ``storage.Reading``; of a repository that cannot be asked, the tags that are here."""
        try:
            return await self._present(repository, lambda it: sorted(it.tags()))
        except Unavailable:
            here = await self._run(lambda it: pushed.tags(it, self._key(repository)))
            if not here:
                raise
            return sorted(here)

    async def referrers(self, repository: str, digest: str) -> list[Referrer]:
        """See ``storage.Reading``. Raises NoSuchPage where upstream does not list them: clients then ask for
        the tag that lists them without this operation.
        """
        try:
            found = await self._present(repository, lambda it: it.referrers(digest))
        except Unavailable:
            here = await self._run(lambda it: pushed.referrers(it, self._key(repository), digest))
            if not here:
                raise
            return here
        if found is None:
            raise NoSuchPage(message="the mirrored registry does not list referrers")
        entries = [
            Referrer(it.media_type, it.digest, it.size, it.artifact_type, it.annotations or {})
            for it in found
        ]
        return sorted(entries, key=lambda it: it.digest)

    async def repositories(self) -> list[str]:
        """See ``storage.Reading``: those of which something is here."""
        found = await self._run(pushed.repositories)
        return sorted(it.removeprefix(self._prefix) for it in found if it.startswith(self._prefix))

    # documents

    def _answered(self, asked: tuple[str, str], task: asyncio.Task[Stored | None]) -> None:
        self._asking.pop(asked, None)
        if not task.cancelled():
            task.exception()  # askers are told; they may have gone

    async def _manifest(self, repository: str, reference: str) -> Stored | None:
        here = await self._here(repository, reference)
        if here and (names.is_digest(reference) or time.monotonic() < self._quiet_until):
            return here
        try:
            return await self._asked(repository, reference, here)
        except OnggiError as error:  # down, or saying nonsense, as a captive portal does
            if here is None:
                raise
            log.warning("mirror: %s:%s is served from the cache: %s", repository, reference, error)
            return here

    async def _asked(self, repository: str, reference: str, here: Stored | None) -> Stored | None:
        """What upstream has now; fetched if it is not here."""
        digest = reference
        if not names.is_digest(reference):
            digest = await self._present(repository, lambda it: it.current(reference)) or ""
            if not digest or (here and here.digest == digest):
                return here if digest else None
            if known := await self._here(repository, digest):
                await self._run(lambda it: pushed.name(it, self._key(repository), reference, digest))
                return known
        fetched = await self._present(repository, lambda it: it.resolve(digest))
        return await self._keep(repository, reference, fetched) if fetched else None

    async def _keep(self, repository: str, reference: str, fetched: Fetched) -> Stored:
        document = documents.parse(fetched.data, fetched.media_type)
        tags = [] if names.is_digest(reference) else [reference]
        await self._serving.keep(self._key(repository), document, tags, partial=True)
        return Stored(document.digest, document.media_type, document.data)

    async def _here(self, repository: str, reference: str) -> Stored | None:
        key = self._key(repository)

        def look(connection: sqlite3.Connection) -> tuple[str, str, str] | None:
            found = pushed.manifest(connection, key, reference)
            if found:
                pushed.use(connection, key, found[0])
            return found

        found = await self._run(look)
        return Stored(found[0], found[2], await self._content.read(found[1])) if found else None

    # blobs

    def _remember(self, repository: str, digest: str, size: int) -> None:
        """What has a digest never changes: it need not be asked about again."""
        if len(self._sizes) >= _MOST_SIZES:
            self._sizes.clear()
        self._sizes[repository, digest] = size

    async def _stream(self, repository: str, wanted: Wanted, start: int, end: int) -> AsyncIterator[bytes]:
        while (download := self._downloads.get(wanted.digest)) and download.leaving:
            await download.over()
            self._drop(wanted.digest, download)
        if download is None:
            download = Download(wanted.size, lambda it: self._fetch(it, repository, wanted))
            self._downloads[wanted.digest] = download
        async with aclosing(download.read(start, end)) as pieces:
            async for piece in pieces:
                yield piece

    async def _fetch(self, download: Download, repository: str, wanted: Wanted) -> None:
        """Have a blob here, and let its repository have it. Upstream has it: it was asked."""
        try:
            async with self._turns, self._content.lease() as lease:
                if await lease.have_blob(wanted.digest) is None:
                    await self._receive(download, lease, repository, wanted)
                else:
                    download.open(self._content.path(wanted.digest), wanted.size)
                failpoint("images.mirror.before_link")
                kept = Kept(*wanted)
                await self._run(lambda it: pushed.link(it, self._key(repository), wanted.digest, kept))
        finally:
            self._drop(wanted.digest, download)

    def _drop(self, digest: str, download: Download) -> None:
        if self._downloads.get(digest) is download:
            del self._downloads[digest]

    async def _receive(self, download: Download, lease: Lease, repository: str, wanted: Wanted) -> None:
        async with opened(lambda: lease.writer(*wanted)) as writer:
            download.open(writer.path, writer.offset)
            upstream = self._connect(self._path(repository))
            copy = partial(_copy, upstream, wanted, writer, download.advance)
            await self._workers.run(copy, upstream.cancel.set)
            failpoint("images.mirror.before_commit")
            await lease.commit(writer)

    # upstream

    async def _present(self, repository: str, call: Callable[[Repository], T]) -> T | None:
        """What upstream says; None for what it does not have or does not show us."""
        upstream = self._connect(self._path(repository))
        try:
            return await self._workers.run(lambda: call(upstream), upstream.cancel.set)
        except _ABSENT as error:
            log.info("mirror: %s: %s", repository, error)
            return None
        except Unavailable:
            self._quiet_until = time.monotonic() + _QUIET_S
            raise

    def _path(self, repository: str) -> str:
        """The hub's own images may be asked for without their namespace."""
        return _OFFICIAL + repository if self._is_hub and "/" not in repository else repository

    def _key(self, repository: str) -> str:
        return self._prefix + self._path(repository)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._content.database.run(work)


def _copy(upstream: Repository, wanted: Wanted, writer: BlobWriter, advance: Callable[[int], None]) -> None:
    """All of a blob that is missing; a transfer that breaks off is continued, within reason. Blocking."""
    failures = 0
    while writer.offset < wanted.size:
        before = writer.offset
        try:
            _copy_once(upstream, wanted, writer, advance)
        except Transient:
            failures = 1 if writer.offset > before else failures + 1
            if failures >= _ATTEMPTS:
                raise
            upstream.cancel.sleep(failures)


def _copy_once(
    upstream: Repository, wanted: Wanted, writer: BlobWriter, advance: Callable[[int], None]
) -> None:
    with upstream.blob(wanted.digest, writer.offset, wanted.size) as opened:
        if opened.offset != writer.offset:
            writer.seek_back_to_zero()
            advance(0)
        for chunk in opened.chunks:
            writer.write(chunk)
            advance(writer.offset)
    if writer.offset < wanted.size:
        raise Transient(f"{wanted.digest} ended after {writer.offset} of {wanted.size} bytes")
