"""Manifests and indexes as a registry sees them: what they are, what they need, and what they refer to.

Wider than ``oci.manifest``: artifacts, other digests and unknown members are kept as they come. What two
readers could understand differently is refused all the same (rule R11, CVE-2021-41190).
"""

from __future__ import annotations

from typing import Any

import msgspec

from onggi.oci import media
from onggi.registry.server import names
from onggi.registry.server.refusals import DigestInvalid, ManifestInvalid

Json = Any
_MAX_ENTRIES = 10_000
_KNOWN = {
    name.lower(): name
    for name in ("schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "fsLayers")
}


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """Names some content; the digest is checked apart."""

    digest: str
    size: int
    media_type: str = ""
    urls: list[str] | None = None


class Referrer(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An entry of a list of referrers: the descriptor of a document that has a subject."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: dict[str, str] = {}


class Document(msgspec.Struct, frozen=True):
    """A manifest or index; ``blobs`` and ``manifests`` are what it needs, ``subject`` may be empty."""

    digest: str
    media_type: str
    data: bytes
    blobs: list[str]
    manifests: list[str]
    subject: str
    artifact_type: str
    annotations: dict[str, str]

    def referrer(self) -> Referrer:
        """How a list of referrers shows it."""
        return Referrer(self.media_type, self.digest, len(self.data), self.artifact_type, self.annotations)


class _Body(msgspec.Struct, rename="camel"):
    """The members that matter, of a manifest and of an index."""

    schema_version: int
    media_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: dict[str, str] | None = None


def parse(data: bytes, content_type: str, digest: str = "") -> Document:
    """Parse a document; ``digest`` is what its client calls it. Raises ManifestInvalid or DigestInvalid."""
    found = names.digest_of(data, digest or "sha256")
    if digest and found != digest:
        raise DigestInvalid({"digest": digest})
    body = _decode(data)
    kind = _kind(body, content_type.partition(";")[0].strip())
    is_index = kind in media.INDEXES
    _check_shape(body, kind, is_index)
    annotations = body.annotations or {}
    subject = _digests([body.subject] if body.subject else [])
    artifact = body.artifact_type or (body.config.media_type if body.config and not is_index else "")
    return Document(
        found,
        kind,
        data,
        _digests(_needed(body)),
        _digests(body.manifests or []),
        subject[0] if subject else "",
        artifact,
        annotations,
    )


def _decode(data: bytes) -> _Body:
    try:
        document = msgspec.json.decode(data)
        if isinstance(document, dict):
            _refuse_lookalikes(document)
        return msgspec.convert(document, _Body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ManifestInvalid(message=f"manifest invalid: {error}") from None


def _refuse_lookalikes(document: dict[str, Json]) -> None:
    """Go's decoder takes ``Layers`` for ``layers``; ours does not: what one of them cannot see is refused."""
    for name in document:
        known = _KNOWN.get(name.lower())
        if known == "fsLayers":
            raise ManifestInvalid(
                message="manifest invalid: schema 1 is not supported; push it again with a newer docker"
            )
        if known and known != name:
            raise ManifestInvalid(message=f"manifest invalid: the member {name!r} is ambiguous")


def _kind(body: _Body, told: str) -> str:
    if body.schema_version != 2:
        raise ManifestInvalid(message="manifest invalid: schemaVersion must be 2")
    if body.media_type and told and body.media_type != told:
        raise ManifestInvalid(
            message=f"manifest invalid: it says {body.media_type[:100]}, its Content-Type {told[:100]}"
        )
    kind = told or body.media_type
    if kind not in (*media.MANIFESTS, *media.INDEXES):
        raise ManifestInvalid(message=f"manifest invalid: unsupported media type {kind[:100] or 'none'}")
    return kind


def _check_shape(body: _Body, kind: str, is_index: bool) -> None:
    if is_index and (body.layers is not None or body.config is not None):
        raise ManifestInvalid(message=f"manifest invalid: {kind} with layers or config is ambiguous")
    if not is_index and body.manifests is not None:
        raise ManifestInvalid(message=f"manifest invalid: {kind} with manifests is ambiguous")
    if (body.manifests if is_index else body.layers) is None or (body.config is None) != is_index:
        raise ManifestInvalid(message=f"manifest invalid: {kind} lacks what it is made of")
    if len(body.layers or body.manifests or ()) > _MAX_ENTRIES:
        raise ManifestInvalid(message=f"manifest invalid: more than {_MAX_ENTRIES} entries")


def _needed(body: _Body) -> list[Descriptor]:
    """Blobs that must be here; layers that are kept elsewhere need not (image-spec, "Non-Distributable")."""
    layers = [it for it in body.layers or () if not (it.urls or media.is_foreign(it.media_type))]
    return [*([body.config] if body.config else []), *layers]


def _digests(descriptors: list[Descriptor]) -> list[str]:
    try:
        return [names.digest(it.digest) for it in descriptors]
    except DigestInvalid as error:
        raise ManifestInvalid(error.detail, message=f"manifest invalid: {error.message}") from None
