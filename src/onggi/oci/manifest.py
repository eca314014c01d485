"""Manifests and indexes: strict parsing, choice by platform (OCI image-spec manifest.md, image-index.md).

What two readers could understand differently is refused (rule R11, CVE-2021-41190): a document is a manifest
or an index by its media type, and has only the members of that one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from onggi.errors import InvalidArgument, NotFound, Unsupported
from onggi.oci import media
from onggi.oci.digest import check
from onggi.oci.platform import Platform

Json = Any
MAX_BYTES = 4 << 20  # of one manifest, as registries limit them
_MAX_ENTRIES = 1000
_MAX_SIZE = 1 << 50


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Names some content (descriptor.md): ``size`` in bytes; ``digest`` is checked to be a sha256."""

    media_type: str
    digest: str
    size: int
    urls: list[str] = []
    annotations: dict[str, str] = {}
    platform: Json = None
    artifact_type: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """One image: its config and its layers, base first."""

    media_type: str
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str] = {}


class Index(msgspec.Struct, frozen=True):
    """A list of manifests, one for each platform."""

    media_type: str
    manifests: list[Descriptor]
    annotations: dict[str, str] = {}


def parse(data: bytes, media_type: str = "") -> Manifest | Index:
    """Parse a document; ``media_type`` is what its transport said.

    Raises InvalidArgument for what is malformed or ambiguous, Unsupported for schema 1 and what is no image.
    """
    document = _decode(data)
    kind = _kind(document, media_type)
    if kind in media.INDEXES:
        _refuse(document, ("layers", "config", "fsLayers"), kind)
        return Index(kind, _descriptors(document, "manifests"), _annotations(document))
    _refuse(document, ("manifests", "fsLayers"), kind)
    config = _descriptors({"config": [document.get("config")]}, "config")[0]
    return Manifest(kind, config, _descriptors(document, "layers"), _annotations(document))


def check_image(manifest: Manifest) -> None:
    """Raise Unsupported unless this is an image whose layers we unpack: no artifact, no foreign layer."""
    if manifest.config.media_type not in media.CONFIGS:
        raise Unsupported(f"unsupported media type {manifest.config.media_type}: this is no container image")
    for layer in manifest.layers:
        if layer.urls or media.is_foreign(layer.media_type):
            raise Unsupported(
                f"layer {layer.digest} is kept elsewhere (foreign layer); this engine does not fetch it"
            )
        if layer.media_type not in media.LAYERS:
            raise Unsupported(f"layer {layer.digest} has the unknown media type {layer.media_type}")


def choose(index: Index, wanted: Platform) -> Descriptor:
    """The entry for a platform, the most exact first. Raises NotFound in docker's words."""
    ranked = [(_rank(entry.platform, wanted), -number, entry) for number, entry in enumerate(index.manifests)]
    best = max(ranked, key=lambda it: it[:2], default=(0, 0, None))
    if best[2] is None or best[0] == 0:
        raise NotFound(f"no matching manifest for {wanted} in the manifest list entries")
    return best[2]


def _rank(found: Json, wanted: Platform) -> int:
    """0: does not fit. An entry without a variant fits every one."""
    if not isinstance(found, dict) or found.get("os") != wanted.os:
        return 0
    if found.get("architecture") != wanted.architecture:
        return 0
    variant = found.get("variant") or ""
    if not isinstance(variant, str):
        return 0
    if variant == wanted.variant:
        return 3
    if not variant or not wanted.variant:
        return 2
    return 1 if wanted.architecture == "arm" and variant < wanted.variant else 0


def _decode(data: bytes) -> dict[str, Json]:
    if len(data) > MAX_BYTES:
        raise InvalidArgument(f"manifest of {len(data)} bytes, at most {MAX_BYTES} are allowed")
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"invalid manifest: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("invalid manifest: expected an object")
    return document


def _kind(document: dict[str, Json], told: str) -> str:
    """The media type: what the document says, and its transport must agree."""
    told = told.partition(";")[0].strip()
    said = document.get("mediaType")
    if said is not None and not isinstance(said, str):
        raise InvalidArgument("invalid manifest: mediaType is no string")
    if told in media.DOCKER_SCHEMA_1 or document.get("schemaVersion") == 1:
        raise Unsupported(
            "docker image manifest version 2, schema 1 is not supported: push the image again "
            "with a newer docker"
        )
    if document.get("schemaVersion") != 2:
        raise InvalidArgument("invalid manifest: schemaVersion must be 2")
    known = (*media.MANIFESTS, *media.INDEXES)
    if said and told in known and said != told:
        raise InvalidArgument(f"invalid manifest: it says {said}, the registry says {told}")
    kind = said or (told if told in known else "")
    if not kind and not told:
        kind = media.OCI_INDEX if "manifests" in document else media.OCI_MANIFEST
    if kind not in known:
        raise Unsupported(f"unsupported manifest media type {kind or told or 'none'}")
    return kind


def _refuse(document: dict[str, Json], members: tuple[str, ...], kind: str) -> None:
    for name in members:
        if name in document:
            raise InvalidArgument(f"invalid manifest: {kind} with the member {name!r} is ambiguous")


def _descriptors(document: dict[str, Json], name: str) -> list[Descriptor]:
    listed = document.get(name)
    if not isinstance(listed, list) or len(listed) > _MAX_ENTRIES:
        raise InvalidArgument(
            f"invalid manifest: {name} must be a list of at most {_MAX_ENTRIES} descriptors"
        )
    try:
        found = msgspec.convert(listed, list[Descriptor])
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid manifest: {name}: {error}") from None
    for descriptor in found:
        check(descriptor.digest)
        if not 0 <= descriptor.size <= _MAX_SIZE:
            raise InvalidArgument(f"invalid manifest: size {descriptor.size} of {descriptor.digest}")
    return found


def _annotations(document: dict[str, Json]) -> dict[str, str]:
    found = document.get("annotations") or {}
    if not isinstance(found, dict) or not all(isinstance(it, str) for it in found.values()):
        raise InvalidArgument("invalid manifest: annotations must be an object of strings")
    return found
