"""Blobs and manifests by name: read, written, deleted."""

from __future__ import annotations

from onggi.oci.manifest import MAX_BYTES
from onggi.registry.server import documents, names, ranges
from onggi.registry.server.call import Answer, Call, Headers
from onggi.registry.server.refusals import (
    BlobUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    MissingBlobs,
)
from onggi.registry.server.storage import Reading, Writing

_FOR_EVER = "max-age=31536000, immutable"
_MOST_TAGS = 100  # in one request


class Content:
    """The calls that read blobs and manifests."""

    def __init__(self, storage: Reading) -> None:
        self._storage = storage

    async def blob(self, call: Call, repository: str, digest: str) -> Answer:
        """GET, HEAD: a blob, or one range of it."""
        blob = await self._storage.blob(repository, names.digest(digest))
        if blob is None:
            raise BlobUnknown({"digest": digest})
        headers = (*_identity(digest), ("Cache-Control", _FOR_EVER), ("Accept-Ranges", "bytes"))
        if _unchanged(call, digest):
            return Answer(304, headers)
        part = ranges.requested(_range(call, digest), blob.size)
        start, end = part or (0, blob.size)
        if part:
            headers = (*headers, ("Content-Range", f"bytes {start}-{end - 1}/{blob.size}"))
        body = blob.read(start, end)
        return Answer(206 if part else 200, headers, body, "application/octet-stream", end - start)

    async def manifest(self, call: Call, repository: str, reference: str) -> Answer:
        """GET, HEAD: a manifest or index as it was pushed."""
        stored = await self._storage.manifest(repository, _reference(reference))
        if stored is None:
            raise ManifestUnknown({"name": repository, "reference": reference})
        if not _accepted(call.headers.get("accept", ""), stored.media_type):
            raise ManifestUnknown(
                {"name": repository, "reference": reference},
                message=f"manifest is of type {stored.media_type}, which the request does not accept",
            )
        headers = _identity(stored.digest)
        if _unchanged(call, stored.digest):
            return Answer(304, headers)
        return Answer(200, headers, stored.data, stored.media_type, len(stored.data))


class Changes:
    """The calls that change what repositories hold, but for uploads."""

    def __init__(self, storage: Writing) -> None:
        self._storage = storage

    async def unlink(self, _: Call, repository: str, digest: str) -> Answer:
        """DELETE: the repository has the blob no longer."""
        if not await self._storage.unlink(repository, names.digest(digest)):
            raise BlobUnknown({"digest": digest})
        return Answer(202)

    async def put_manifest(self, call: Call, repository: str, reference: str) -> Answer:
        """PUT: keep a document, by tag, or by digest with tags in the query."""
        digest = _reference(reference) if names.is_digest(reference) else ""
        tags = [names.tag(it) for it in (call.query.get("tag", []) if digest else [reference])]
        if len(tags) > _MOST_TAGS:
            raise ManifestInvalid(message=f"at most {_MOST_TAGS} tags in one request")
        document = documents.parse(await _read(call), call.headers.get("content-type", ""), digest)
        if missing := await self._storage.keep(repository, document, tags):
            raise MissingBlobs(missing)
        location = f"/v2/{repository}/manifests/{document.digest}"
        headers: Headers = (("Location", location), ("Docker-Content-Digest", document.digest))
        if document.subject:
            headers = (*headers, ("OCI-Subject", document.subject))
        if digest and tags:
            headers = (*headers, ("OCI-Tag", ", ".join(tags)))
        return Answer(201, headers)

    async def remove_manifest(self, _: Call, repository: str, reference: str) -> Answer:
        """DELETE: by digest the document with its tags, by tag the tag alone."""
        remove = self._storage.remove if names.is_digest(reference) else self._storage.untag
        if not await remove(repository, _reference(reference)):
            raise ManifestUnknown({"name": repository, "reference": reference})
        return Answer(202)


def _reference(text: str) -> str:
    return names.digest(text) if names.is_digest(text) else names.tag(text)


def _identity(digest: str) -> Headers:
    return (("Docker-Content-Digest", digest), ("Etag", f'"{digest}"'))


def _range(call: Call, digest: str) -> str:
    """The Range header; empty if it holds for another version only (RFC 9110 section 13.1.5)."""
    valid = call.headers.get("if-range") in (None, f'"{digest}"')
    return call.headers.get("range", "") if valid else ""


def _unchanged(call: Call, digest: str) -> bool:
    known = [it.strip().removeprefix("W/") for it in call.headers.get("if-none-match", "").split(",")]
    return f'"{digest}"' in known or "*" in known


def _accepted(accept: str, media_type: str) -> bool:
    """Whether a client takes a document: who names none of the family of types takes whatever there is."""
    types = {it.partition(";")[0].strip().lower() for it in accept.split(",")}
    named = {it for it in types if it.startswith("application/vnd.")}
    return not named or media_type in named or bool(types & {"*/*", "application/*"})


async def _read(call: Call) -> bytes:
    data = bytearray()
    async for piece in call.body:
        data += piece
        if len(data) > MAX_BYTES:
            raise ManifestTooLarge(message=f"manifest is larger than {MAX_BYTES} bytes")
    return bytes(data)
