"""Upload sessions: begun by POST, fed by PATCH, closed by PUT.

A session is named by a number of ours, belongs to one repository, and ends by itself when nobody touches it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from onggi.registry.server import names, ranges
from onggi.registry.server.call import Answer, Call, Headers
from onggi.registry.server.refusals import DigestInvalid, Refusal, SizeInvalid, TooMany, UploadUnknown
from onggi.registry.server.storage import Upload, Writing, WrongDigest

MAX_SESSIONS = 256
IDLE_S = 3600.0  # of a session between two requests


class Session:
    """One upload in progress."""

    def __init__(self, repository: str, upload: Upload) -> None:
        self.id = str(uuid.uuid4())
        self.repository, self.upload = repository, upload
        self.lock = asyncio.Lock()
        self.touched = 0.0

    @property
    def headers(self) -> Headers:
        """Where to go on, and from which byte."""
        return (
            ("Location", f"/v2/{self.repository}/blobs/uploads/{self.id}"),
            ("Range", f"0-{max(0, self.upload.offset - 1)}"),
            ("Docker-Upload-Uuid", self.id),
        )


class Uploads:
    """The sessions of one registry, and the calls that concern them."""

    def __init__(self, storage: Writing, clock: Callable[[], float]) -> None:
        self._storage, self._clock = storage, clock
        self._sessions: dict[str, Session] = {}

    async def begin(self, call: Call, repository: str) -> Answer:
        """POST: mount a blob, take a whole one, or open a session."""
        if wanted := call.first("mount"):
            if await self._storage.mount(repository, names.digest(wanted), self._source(call)):
                return _created(repository, wanted)
        elif given := call.first("digest"):
            return await self._whole(call, repository, names.digest(given))
        elif (algorithm := call.first("digest-algorithm")) and algorithm not in ("sha256", "sha512"):
            raise DigestInvalid({"algorithm": algorithm[:100]}, message="unsupported digest algorithm")
        session = await self._open(repository)
        return Answer(202, session.headers)

    async def status(self, _: Call, repository: str, session_id: str) -> Answer:
        """GET: how far the upload is."""
        return Answer(204, self._find(repository, session_id).headers)

    async def chunk(self, call: Call, repository: str, session_id: str) -> Answer:
        """PATCH: add a chunk."""
        async with self._taken(repository, session_id) as session:
            await self._append(call, session)
            return Answer(202, session.headers)

    async def close(self, call: Call, repository: str, session_id: str) -> Answer:
        """PUT: add the last chunk, if any, and let the repository have the blob."""
        digest = names.digest(call.first("digest"))
        async with self._taken(repository, session_id) as session:
            await self._append(call, session)
            del self._sessions[session_id]
            return await _finish(session.upload, repository, digest)

    async def cancel(self, _: Call, repository: str, session_id: str) -> Answer:
        """DELETE: forget the upload."""
        async with self._taken(repository, session_id) as session:
            del self._sessions[session_id]
            await session.upload.cancel()
        return Answer(204)

    async def end(self) -> None:
        """Cancel every session: the registry closes."""
        while self._sessions:
            _, session = self._sessions.popitem()
            async with session.lock:
                await session.upload.cancel()

    async def expire(self) -> None:
        """Cancel the sessions that nobody has touched for long."""
        now = self._clock()
        for session in list(self._sessions.values()):
            if now - session.touched > IDLE_S and not session.lock.locked():
                self._sessions.pop(session.id, None)
                await session.upload.cancel()

    @staticmethod
    def _source(call: Call) -> str:
        source = call.first("from")
        return names.repository(source) if source else ""

    async def _open(self, repository: str) -> Session:
        await self.expire()
        if len(self._sessions) >= MAX_SESSIONS:
            raise TooMany(message="too many uploads at once", headers=(("Retry-After", "30"),))
        session = Session(repository, await self._storage.upload(repository))
        session.touched = self._clock()
        self._sessions[session.id] = session
        return session

    async def _whole(self, call: Call, repository: str, digest: str) -> Answer:
        upload = await self._storage.upload(repository)
        try:
            await upload.append(call.body)
            _check_size(call, upload.offset)
            return await _finish(upload, repository, digest)
        finally:
            await upload.cancel()

    def _find(self, repository: str, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None or session.repository != repository:
            raise UploadUnknown()
        return session

    @asynccontextmanager
    async def _taken(self, repository: str, session_id: str) -> AsyncIterator[Session]:
        """The session, for this request alone; a refusal says where the upload stands."""
        session = self._find(repository, session_id)
        async with session.lock:
            self._find(repository, session_id)  # it may have ended while we waited
            session.touched = self._clock()
            try:
                yield session
            except Refusal as refusal:
                if session_id in self._sessions:
                    refusal.headers = (*refusal.headers, *session.headers)
                raise
            finally:
                session.touched = self._clock()

    async def _append(self, call: Call, session: Session) -> None:
        before = session.upload.offset
        if header := call.headers.get("content-range"):
            ranges.check_chunk(header, before, call.size)
        await session.upload.append(call.body)
        _check_size(call, session.upload.offset - before)


def _check_size(call: Call, got: int) -> None:
    if call.size is not None and got != call.size:
        raise SizeInvalid({"expected": call.size, "received": got})


async def _finish(upload: Upload, repository: str, digest: str) -> Answer:
    try:
        await upload.finish(digest)
    except WrongDigest:
        raise DigestInvalid({"digest": digest}) from None
    return _created(repository, digest)


def _created(repository: str, digest: str) -> Answer:
    location = f"/v2/{repository}/blobs/{digest}"
    return Answer(201, (("Location", location), ("Docker-Content-Digest", digest)))
