"""The manifest of an image that is here: one it came with, or one made from what is kept of its layers."""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

import msgspec

from onggi.errors import DataLoss
from onggi.images.recording import is_here, kept_blobs
from onggi.oci import media
from onggi.oci.digest import sha256
from onggi.oci.image import Image
from onggi.oci.manifest import Descriptor, Manifest, parse
from onggi.store.blobs import Blobs

Json = Any
_FAMILY = {
    media.OCI_MANIFEST: media.OCI_CONFIG,
    media.DOCKER_MANIFEST: media.DOCKER_CONFIG,
}


class Document(NamedTuple):
    """A manifest as bytes, with what it says."""

    data: bytes
    digest: str
    manifest: Manifest

    @property
    def descriptor(self) -> Descriptor:
        """How an index names it."""
        return Descriptor(self.manifest.media_type, self.digest, len(self.data))


def of_image(
    connection: sqlite3.Connection, blobs: Blobs, image: Image, family: str = media.DOCKER_MANIFEST
) -> Document:
    """The manifest to ship an image with: one that it came with if all its blobs are here, else a new one.

    Raises NotFound if no archive of a layer is kept.
    """
    query = "SELECT digest, media_type FROM manifests WHERE image_id = ? ORDER BY digest"
    for digest, media_type in connection.execute(query, (image.id,)).fetchall():
        if not is_here(connection, [digest]):
            continue
        data = blobs.read(digest)
        manifest = parse(data, media_type)
        if isinstance(manifest, Manifest) and is_here(connection, [it.digest for it in manifest.layers]):
            return Document(data, digest, manifest)
    return _made(connection, blobs, image, family)


def _made(connection: sqlite3.Connection, blobs: Blobs, image: Image, family: str) -> Document:
    row = connection.execute("SELECT size FROM blobs WHERE digest = ?", (image.id,)).fetchone()
    if row is None:
        raise DataLoss(f"the configuration of image {image.id} is missing")
    config = Descriptor(_FAMILY[family], image.id, int(row[0]))
    layers = [
        Descriptor(media.layer_type(family, media.compression(media_type)), digest, size)
        for digest, media_type, size in kept_blobs(connection, image.layers)
    ]
    return made(Manifest(family, config, layers))


def made(manifest: Manifest) -> Document:
    """A new document, the same for the same content."""
    document: Json = {
        "schemaVersion": 2,
        "mediaType": manifest.media_type,
        "config": msgspec.to_builtins(manifest.config),
        "layers": [msgspec.to_builtins(layer) for layer in manifest.layers],
    }
    data = msgspec.json.encode(document)
    return Document(data, sha256(data), manifest)
