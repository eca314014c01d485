"""What the documents of an image archive say: docker's manifest.json, or an OCI layout's index.json. Pure.

Sources: OCI image-spec image-layout.md; the archives that ``docker save`` writes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from onggi.errors import InvalidArgument, NotFound
from onggi.oci import media
from onggi.oci import reference as references
from onggi.oci.digest import hex_of, sha256
from onggi.oci.manifest import Descriptor, Index, Manifest, check_image, choose, parse
from onggi.oci.platform import Platform
from onggi.oci.reference import Reference

CONTAINERD_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
_MAX_DEPTH = 4  # indexes inside indexes
Read = Callable[[str], bytes]  # the bytes of a small member; raises NotFound


class Wanted(NamedTuple):
    """One image of an archive: member names of its config and layers (base first), and its names."""

    config: str
    layers: list[str]
    names: list[Reference]
    manifest: tuple[str, str] | None = None  # member name and media type, of an OCI layout
    tag: str = ""  # what an OCI layout calls it


class _Entry(msgspec.Struct, rename="pascal"):
    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


def blob_name(digest: str) -> str:
    """The member of an OCI layout that holds a blob."""
    return f"blobs/sha256/{hex_of(digest)}"


def index(entries: Sequence[Descriptor]) -> bytes:
    """An index.json."""
    document = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": msgspec.to_builtins(entries)}
    return msgspec.json.encode(document)


def clean(name: str) -> str:
    """A member's name as a key: no leading ``./`` or ``/``; raises InvalidArgument if it leads out."""
    cleaned = posixpath.normpath(name.lstrip("/"))
    if cleaned == ".." or cleaned.startswith("../"):
        raise InvalidArgument(f"invalid archive: {name[:200]!r} leads out of it")
    return cleaned


def read_docker(data: bytes) -> list[Wanted]:
    """The images of a manifest.json. Raises InvalidArgument."""
    try:
        entries = msgspec.json.decode(data, type=list[_Entry])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid manifest.json: {error}") from None
    return [
        Wanted(
            clean(it.config), list(map(clean, it.layers or [])), [_name(tag) for tag in it.repo_tags or []]
        )
        for it in entries
    ]


def read_oci(read: Read, platform: Platform, tag: str = "") -> list[Wanted]:
    """The images of an OCI layout for a platform; with ``tag`` only the one of this name or digest.

    Raises InvalidArgument, Unsupported, or NotFound if there is none.
    """
    found = parse(read("index.json"), media.OCI_INDEX)
    if not isinstance(found, Index):
        raise InvalidArgument("invalid OCI layout: index.json is no index")
    entries = [it for it in found.manifests if not tag or _is_called(it, tag)]
    if tag and not entries:
        raise NotFound(f"no image {tag} in the OCI layout")
    return [_image(read, entry, platform) for entry in entries]


def _image(read: Read, entry: Descriptor, platform: Platform) -> Wanted:
    names, tag = _names(entry), entry.annotations.get(REF_NAME, "")
    for _ in range(_MAX_DEPTH):
        data = read(blob_name(entry.digest))
        check_document(data, entry)
        found = parse(data, entry.media_type)
        if isinstance(found, Manifest):
            check_image(found)
            layers = [blob_name(layer.digest) for layer in found.layers]
            manifest = (blob_name(entry.digest), found.media_type)
            return Wanted(blob_name(found.config.digest), layers, names, manifest, tag)
        entry = choose(found, platform)
    raise InvalidArgument(f"invalid OCI layout: indexes are nested deeper than {_MAX_DEPTH}")


def check_document(data: bytes, entry: Descriptor) -> None:
    """Raise InvalidArgument unless these are the bytes that a descriptor names."""
    if len(data) != entry.size or sha256(data) != entry.digest:
        raise InvalidArgument(f"invalid archive: {entry.digest} has other content than its name says")


def _is_called(entry: Descriptor, tag: str) -> bool:
    return tag in (entry.digest, entry.annotations.get(REF_NAME), entry.annotations.get(CONTAINERD_NAME))


def _names(entry: Descriptor) -> list[Reference]:
    """A full name; ``latest`` alone is none."""
    for key in (CONTAINERD_NAME, REF_NAME):
        text = entry.annotations.get(key, "")
        if "/" in text or ":" in text:
            return [_name(text)]
    return []


def _name(text: str) -> Reference:
    reference = references.parse(text).with_default_tag()
    if reference.digest:
        raise InvalidArgument(f"invalid tag {text!r} in an archive")
    return reference
