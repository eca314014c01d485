"""The distribution specification's error codes, with the status that each has on the wire.

Source: distribution-spec, "Error Codes"; the sentences are those of docker's registry, which clients print.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from onggi.errors import OnggiError
from onggi.registry.server.call import Answer, Headers

Json = Any


class Refusal(OnggiError):
    """Why a call is not served; ``detail`` is JSON for the client."""

    status, code, sentence = 500, "UNKNOWN", "unknown error"

    def __init__(self, detail: Json = None, *, message: str = "", headers: Headers = ()) -> None:
        self.message, self.detail, self.headers = message or self.sentence, detail, headers
        super().__init__(self.message)


class BlobUnknown(Refusal):
    """The repository has no such blob."""

    status, code, sentence = 404, "BLOB_UNKNOWN", "blob unknown to registry"


class UploadInvalid(Refusal):
    """The upload cannot be continued so."""

    status, code, sentence = 400, "BLOB_UPLOAD_INVALID", "blob upload invalid"


class UploadUnknown(Refusal):
    """The session has ended, expired, or never was."""

    status, code, sentence = 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"


class RangeInvalid(Refusal):
    """A chunk does not continue where the upload stands, or a range lies outside of the blob."""

    status, code, sentence = 416, "BLOB_UPLOAD_INVALID", "range not satisfiable"


class DigestInvalid(Refusal):
    """The digest is malformed, of an unknown algorithm, or not that of the content."""

    status, code, sentence = 400, "DIGEST_INVALID", "provided digest did not match uploaded content"


class SizeInvalid(Refusal):
    """The body is not as long as its head says."""

    status, code, sentence = 400, "SIZE_INVALID", "provided length did not match content length"


class ManifestInvalid(Refusal):
    """The document is no manifest or index, or can be read in two ways."""

    status, code, sentence = 400, "MANIFEST_INVALID", "manifest invalid"


class ManifestTooLarge(ManifestInvalid):
    """The document is longer than any manifest may be."""

    status = 413


class ManifestUnknown(Refusal):
    """The repository has no such manifest."""

    status, code, sentence = 404, "MANIFEST_UNKNOWN", "manifest unknown"


class NameInvalid(Refusal):
    """The repository's name breaks the grammar."""

    status, code, sentence = 400, "NAME_INVALID", "invalid repository name"


class TagInvalid(Refusal):
    """The tag breaks the grammar; one of docker's codes, which the specification admits."""

    status, code, sentence = 400, "TAG_INVALID", "manifest tag did not match URI"


class NameUnknown(Refusal):
    """There is no such repository."""

    status, code, sentence = 404, "NAME_UNKNOWN", "repository name not known to registry"


class Unauthorized(Refusal):
    """The caller did not prove who they are."""

    status, code, sentence = 401, "UNAUTHORIZED", "authentication required"


class Denied(Refusal):
    """Policy says no."""

    status, code, sentence = 403, "DENIED", "requested access to the resource is denied"


class UnsupportedCall(Refusal):
    """There is no such operation."""

    status, code, sentence = 405, "UNSUPPORTED", "The operation is unsupported."


class NoSuchPage(UnsupportedCall):
    """The path belongs to no operation."""

    status, sentence = 404, "page not found"


class TooMany(Refusal):
    """The registry has its hands full."""

    status, code, sentence = 429, "TOOMANYREQUESTS", "too many requests"


class MissingBlobs(ManifestInvalid):
    """The manifest names content that the repository does not have; one error for each."""

    code, sentence = "MANIFEST_BLOB_UNKNOWN", "manifest references a manifest or blob unknown to registry"

    def __init__(self, digests: Sequence[str]) -> None:
        super().__init__({"digest": digests[0]})
        self.digests = digests


def render(refusal: Refusal) -> Answer:
    """The answer that says so."""
    details = [refusal.detail]
    if isinstance(refusal, MissingBlobs):
        details = [{"digest": digest} for digest in refusal.digests]
    errors = [{"code": refusal.code, "message": refusal.message, "detail": it} for it in details]
    body = msgspec.json.encode({"errors": errors}) + b"\n"
    return Answer(refusal.status, refusal.headers, body)
