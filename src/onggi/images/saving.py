"""``docker save`` and ``push oci:DIR``: images as OCI layouts that docker reads too.

Layers are copied as they are kept; nothing is compressed or hashed again. The same images give the same
archive.
"""

from __future__ import annotations

import os
import sqlite3
import tarfile
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import msgspec

from onggi.errors import NotFound
from onggi.images import manifests
from onggi.images.catalog import no_such_image
from onggi.images.layout import CONTAINERD_NAME, REF_NAME, blob_name, index
from onggi.images.manifests import Document
from onggi.images.streams import of_file
from onggi.images.tools import Tools
from onggi.oci import media
from onggi.oci import reference as references
from onggi.oci.image import Image
from onggi.oci.manifest import Descriptor
from onggi.oci.platform import Platform, of_config
from onggi.oci.reference import Reference
from onggi.store import opening
from onggi.store.blobs import Blobs
from onggi.store.content import Lease

Json = Any
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Chosen(NamedTuple):
    """An image to be saved, its manifest, and the names it is saved under."""

    image: Image
    document: Document
    names: list[Reference]


class Saver:
    """Writes archives of one store's images."""

    def __init__(self, tools: Tools) -> None:
        self._content, self._catalog = tools.content, tools.images.catalog

    async def choose(self, lease: Lease, names: Sequence[str], platform: Platform | None) -> list[Chosen]:
        """The images of names and ids, in the order asked for, held by the lease.

        A name without a tag stands for all of its tags. Raises NotFound in docker's words.
        """

        def find(connection: sqlite3.Connection) -> list[Chosen]:
            asked = [it for name in names for it in self._named(connection, name)]
            merged: dict[str, list[Reference]] = {}
            for image, named in asked:
                merged.setdefault(image.id, []).extend(it for it in named if it not in merged[image.id])
            images = {image.id: image for image, _ in asked}
            return [
                Chosen(image, _document(connection, self._content.blobs, image), merged[image.id])
                for image in images.values()
            ]

        chosen = await self._content.database.run(find)
        for it in chosen:
            if platform and not of_config(it.image.config).matches(platform):
                raise NotFound(f"no suitable export target found for platform {platform}")
            for digest in blobs_of(it):
                await lease.have_blob(digest)
        return chosen

    async def archive(self, chosen: Sequence[Chosen]) -> AsyncIterator[bytes]:
        """The bytes of a tar."""
        yield _header("blobs/", 0) + _header("blobs/sha256/", 0)
        documents = {blob_name(it.document.digest): it.document.data for it in chosen}
        kept = {blob_name(digest): digest for it in chosen for digest in blobs_of(it)}
        for name in sorted({*documents, *kept}):
            if name in documents:
                yield _member(name, documents[name])
                continue
            async for piece in self._file(name, kept[name]):
                yield piece
        for name, data in top_level(chosen):
            yield _member(name, data)
        yield bytes(2 * tarfile.BLOCKSIZE)

    async def _file(self, name: str, digest: str) -> AsyncIterator[bytes]:
        async with opening.file(self._content.path(digest)) as fd:
            size = os.fstat(fd).st_size
            yield _header(name, size)
            async for piece in of_file(fd):
                yield piece
            yield bytes(-size % tarfile.BLOCKSIZE)

    def _named(self, connection: sqlite3.Connection, name: str) -> list[tuple[Image, list[Reference]]]:
        reference = _only_name(name)
        if reference is not None:
            tags = self._catalog.tags_of(connection, reference.name)
            if tags:
                return [(self._catalog.load(connection, image_id), [tag]) for tag, image_id in tags]
        try:
            image = self._catalog.find(connection, name)
        except NotFound:
            raise no_such_image(name) from None
        tagged = [references.parse(tag) for tag in image.tags]
        wanted = None if _is_id(name, image) else references.parse(name).with_default_tag()
        return [(image, [tag for tag in tagged if tag == wanted])]


def _document(connection: sqlite3.Connection, blobs: Blobs, image: Image) -> Document:
    try:
        return manifests.of_image(connection, blobs, image, media.OCI_MANIFEST)
    except NotFound as error:
        raise NotFound(
            f"image {image.tags[0] if image.tags else image.id} cannot be saved: {error}"
        ) from None


def blobs_of(chosen: Chosen) -> list[str]:
    """Digests of the blobs beside the manifest: configuration and layers."""
    return [chosen.image.id, *(layer.digest for layer in chosen.document.manifest.layers)]


def top_level(chosen: Sequence[Chosen]) -> list[tuple[str, bytes]]:
    """The documents of an archive beside its blobs: docker's and OCI's."""
    entries = [entry for it in chosen for entry in descriptors(it)]
    files = [
        ("index.json", index(entries)),
        ("manifest.json", msgspec.json.encode([_docker_entry(it) for it in chosen])),
        ("oci-layout", LAYOUT),
    ]
    repositories = _repositories(chosen)
    return [*files, ("repositories", msgspec.json.encode(repositories))] if repositories else files


def descriptors(chosen: Chosen) -> list[Descriptor]:
    """The entries of an index for an image: one for each of its names."""
    plain = chosen.document.descriptor
    named = [
        msgspec.structs.replace(plain, annotations={CONTAINERD_NAME: str(name), REF_NAME: name.tag})
        for name in chosen.names
    ]
    return named or [plain]


def _docker_entry(chosen: Chosen) -> Json:
    layers = chosen.document.manifest.layers
    sources = {
        diff_id: msgspec.to_builtins(Descriptor(it.media_type, it.digest, it.size))
        for diff_id, it in zip(chosen.image.layers, layers, strict=True)
    }
    return {
        "Config": blob_name(chosen.image.id),
        "RepoTags": [name.familiar for name in chosen.names] or None,
        "Layers": [blob_name(layer.digest) for layer in layers],
        "LayerSources": sources,
    }


def _repositories(chosen: Sequence[Chosen]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for it in chosen:
        for name in it.names:
            found.setdefault(name.familiar_name, {})[name.tag] = it.image.id.removeprefix("sha256:")
    return found


def _only_name(text: str) -> Reference | None:
    """A name without tag and digest, or None."""
    if text.startswith("sha256:"):
        return None
    reference = references.parse(text)
    return None if reference.tag or reference.digest else reference


def _is_id(text: str, image: Image) -> bool:
    return image.id.removeprefix("sha256:").startswith(text.removeprefix("sha256:"))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name.rstrip("/"))
    info.size = size
    info.mode = 0o755 if name.endswith("/") else 0o644
    info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
    return info.tobuf(tarfile.PAX_FORMAT)  # a size beyond 8 GiB needs PAX


def _member(name: str, data: bytes) -> bytes:
    return _header(name, len(data)) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
