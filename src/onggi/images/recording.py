"""Writes down a new image: its row, the manifests that describe it, where they came from, and its names."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from onggi.errors import DataLoss, InvalidArgument, NotFound, Unsupported
from onggi.images.catalog import Catalog, Row
from onggi.oci.digest import chain_ids, check
from onggi.oci.reference import Reference

Json = Any
MAX_LAYERS = 127  # of an image, as docker's


class NewImage(NamedTuple):
    """An image whose blobs and layers are here.

    ``hidden``: a build made it on the way. ``manifests`` are (digest, media type); ``sources`` are
    (repository, digest of what its name stood for). ``parent``: what a commit began with.
    """

    id: str
    diff_ids: Sequence[str]
    base: str | None = None
    manifests: Sequence[tuple[str, str]] = ()
    sources: Sequence[tuple[str, str]] = ()
    names: Sequence[Reference] = ()
    hidden: bool = False
    parent: str | None = None


def record(connection: sqlite3.Connection, catalog: Catalog, image: NewImage) -> None:
    """Write it. Raises DataLoss if a layer is missing. Idempotent."""
    chain = chain_ids(image.diff_ids)
    size = 0
    for chain_id in chain:
        row = connection.execute("SELECT size FROM layers WHERE chain_id = ?", (chain_id,)).fetchone()
        if row is None:
            raise DataLoss(f"layer {chain_id} of image {image.id} is missing")
        size += int(row[0])
    top = chain[-1] if chain else None
    catalog.add(connection, Row(image.id, top, size, image.base, image.hidden, image.parent))
    describe(connection, image)
    for name in image.names:
        catalog.tag(connection, name, image.id)


def describe(connection: sqlite3.Connection, image: NewImage) -> None:
    """Note manifests and sources of an image that is recorded."""
    for digest, media_type in image.manifests:
        connection.execute(
            "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?)", (digest, media_type, image.id)
        )
    for repository, digest in image.sources:
        connection.execute("INSERT OR REPLACE INTO sources VALUES (?, ?, ?)", (repository, digest, image.id))


class Config(NamedTuple):
    """What an image's configuration says of its layers and its platform."""

    diff_ids: list[str]
    os: str
    architecture: str
    variant: str
    document: Json


def parse_config(data: bytes) -> Config:
    """Check a configuration (OCI image-spec config.md); raises InvalidArgument or Unsupported."""
    try:
        config = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"invalid image configuration: {error}") from None
    rootfs = config.get("rootfs") if isinstance(config, dict) else None
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    listed = [] if diff_ids is None else diff_ids
    if not isinstance(rootfs, dict) or not isinstance(listed, list):
        raise InvalidArgument("invalid image configuration: no rootfs.diff_ids")
    if rootfs.get("type", "layers") != "layers":
        raise Unsupported(f"unknown rootfs type {rootfs.get('type')!r} in an image configuration")
    if len(listed) > MAX_LAYERS:
        raise InvalidArgument(f"image has {len(listed)} layers, at most {MAX_LAYERS} are possible")
    checked = [check(it) if isinstance(it, str) else _no_string(it) for it in listed]
    words = [config.get(key) or "" for key in ("os", "architecture", "variant")]
    if not all(isinstance(word, str) for word in words) or not isinstance(config.get("config") or {}, dict):
        raise InvalidArgument("invalid image configuration: os, architecture, variant or config")
    return Config(checked, words[0], words[1], words[2], config)


def _no_string(value: Json) -> str:
    raise InvalidArgument(f"invalid image configuration: diff id {value!r}")


def kept_blobs(connection: sqlite3.Connection, diff_ids: Sequence[str]) -> list[tuple[str, str, int]]:
    """(digest, media type, size) of a blob of each layer. Raises NotFound for one that has none."""
    found = []
    for diff_id in diff_ids:
        query = (
            "SELECT l.digest, l.media_type, b.size FROM layer_blobs l JOIN blobs b ON b.digest = l.digest "
            "WHERE l.diff_id = ? ORDER BY b.created_ns LIMIT 1"
        )
        row = connection.execute(query, (diff_id,)).fetchone()
        if row is None:
            raise NotFound(f"no archive of layer {diff_id} is kept here")
        found.append((str(row[0]), str(row[1]), int(row[2])))
    return found


def is_here(connection: sqlite3.Connection, digests: Sequence[str]) -> bool:
    """Whether every one of these blobs is here."""
    query = "SELECT 1 FROM blobs WHERE digest = ?"
    return all(connection.execute(query, (digest,)).fetchone() for digest in digests)
