"""Images and tags in the database, and image configs among the blobs."""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from onggi.errors import NotFound
from onggi.oci import reference as references
from onggi.oci.image import Image
from onggi.oci.reference import Reference
from onggi.store.blobs import Blobs

Json = Any
_MIN_PREFIX = 1
# The parent is a fact, not a reference: it may be gone, and then there is none to speak of.
_IMAGES = "SELECT id, size, base, (SELECT id FROM images other WHERE other.id = images.parent) FROM images"


class Row(NamedTuple):
    """An image as its row has it."""

    id: str
    chain_id: str | None
    size: int
    base: str | None
    hidden: bool = False
    parent: str | None = None


class Catalog:
    """Facts of images. Every method takes the connection of a transaction and runs on the database thread."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._configs: dict[str, Json] = {}

    def forget(self) -> None:
        """Read every config anew."""
        self._configs.clear()

    def find(self, connection: sqlite3.Connection, text: str) -> Image:
        """By full id, reference, or unique id prefix, in docker's order. Raises NotFound or
        InvalidArgument.
        """
        bare = text.removeprefix("sha256:")
        if is_hex(bare) and len(bare) == 64:
            return self._found(connection, f"sha256:{bare}", f"sha256:{bare}")
        reference = references.parse(text).with_default_tag() if not text.startswith("sha256:") else None
        if reference and (image_id := self.named(connection, reference)):
            return self.load(connection, image_id)
        return self._found(
            connection, f"sha256:{bare}" if is_hex(bare) else "", reference.familiar if reference else text
        )

    def load(self, connection: sqlite3.Connection, image_id: str) -> Image:
        """One image by its full id. Raises NotFound."""
        query = f"{_IMAGES} WHERE id = ?"
        row = connection.execute(query, (image_id,)).fetchone()
        if row is None:
            raise no_such_image(image_id)
        return self._image(_names(connection, image_id), *row)

    def every(self, connection: sqlite3.Connection, *, hidden: bool = False) -> list[Image]:
        """All images, newest first; ``hidden``: also those that builds made on the way."""
        query = f"{_IMAGES} WHERE hidden <= ?"
        rows = connection.execute(query, (int(hidden),)).fetchall()
        names = Names(_grouped(connection.execute(_TAGS)), _grouped(connection.execute(_DIGESTS)))
        images = [self._image(names, *row) for row in rows]
        return sorted(images, key=lambda image: image.created, reverse=True)

    def add(self, connection: sqlite3.Connection, row: Row) -> None:
        """Note an image whose config is among the blobs. Idempotent; one that was shown stays so."""
        connection.execute(
            "INSERT INTO images (id, chain_id, size, base, hidden, parent, stored_ns)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET hidden = min(hidden, excluded.hidden)",
            (*row, time.time_ns()),
        )

    def tag(self, connection: sqlite3.Connection, reference: Reference, image_id: str) -> None:
        """Let a reference name an image; what it named before loses it."""
        row = (str(reference), image_id, time.time_ns())
        connection.execute(
            "INSERT INTO tags VALUES (?, ?, ?) ON CONFLICT (reference) DO UPDATE"
            " SET image_id = excluded.image_id, updated_ns = excluded.updated_ns",
            row,
        )

    def named(self, connection: sqlite3.Connection, reference: Reference) -> str:
        """The id of the image that has this name; empty if none has."""
        if reference.digest:
            query = "SELECT image_id FROM sources WHERE repository = ? AND digest = ?"
            row = connection.execute(query, (reference.name, reference.digest)).fetchone()
        else:
            query = "SELECT image_id FROM tags WHERE reference = ?"
            row = connection.execute(query, (str(reference),)).fetchone()
        return str(row[0]) if row else ""

    def tags_of(self, connection: sqlite3.Connection, name: str) -> list[tuple[Reference, str]]:
        """Every tag of a repository (``docker.io/library/busybox``) and the image it names, in order."""
        query = "SELECT reference, image_id FROM tags WHERE substr(reference, 1, ?) = ? ORDER BY reference"
        rows = connection.execute(query, (len(name) + 1, f"{name}:")).fetchall()
        return [(references.parse(row[0]), str(row[1])) for row in rows]

    def untag(self, connection: sqlite3.Connection, reference: Reference) -> None:
        """Take a reference away: a tag, or a name with a digest."""
        if reference.digest:
            row = (reference.name, reference.digest)
            connection.execute("DELETE FROM sources WHERE repository = ? AND digest = ?", row)
        else:
            connection.execute("DELETE FROM tags WHERE reference = ?", (str(reference),))

    def tagged_ns(self, connection: sqlite3.Connection, image_id: str) -> int:
        """When the image was tagged last; 0 if never."""
        query = "SELECT max(updated_ns) FROM tags WHERE image_id = ?"
        return int(connection.execute(query, (image_id,)).fetchone()[0] or 0)

    def drop(self, connection: sqlite3.Connection, image_id: str) -> None:
        """Remove an image's rows; its config blob goes behind the commit."""
        for table in ("tags", "sources", "manifests"):
            connection.execute(f"DELETE FROM {table} WHERE image_id = ?", (image_id,))
        connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
        self._configs.pop(image_id, None)

    def _found(self, connection: sqlite3.Connection, prefix: str, shown: str) -> Image:
        """The only image whose id begins so; docker answers an ambiguous prefix like an unknown one."""
        rows = []
        if len(prefix) >= len("sha256:") + _MIN_PREFIX:
            query = f"{_IMAGES} WHERE substr(id, 1, ?) = ? LIMIT 2"
            rows = connection.execute(query, (len(prefix), prefix)).fetchall()
        if len(rows) != 1:
            raise no_such_image(shown)
        return self._image(_names(connection, rows[0][0]), *rows[0])

    def _image(self, names: Names, image_id: str, size: int, base: str | None, parent: str | None) -> Image:
        config, tags, digests = self._config(image_id), names.tags[image_id], names.digests[image_id]
        layers = list(config.get("rootfs", {}).get("diff_ids") or [])
        created = config.get("created") or ""
        return Image(image_id, config, tags, size, created, layers, base, digests, parent or "")

    def _config(self, image_id: str) -> Json:
        if image_id not in self._configs:
            self._configs[image_id] = msgspec.json.decode(self._blobs.read(image_id))
        return self._configs[image_id]


class Names(NamedTuple):
    """Names as people write them, by the id of the image; an image without has an empty list."""

    tags: defaultdict[str, list[str]]
    digests: defaultdict[str, list[str]]


_TAGS = "SELECT image_id, reference FROM tags ORDER BY reference"
_DIGESTS = "SELECT image_id, repository || '@' || digest FROM sources ORDER BY repository, digest"


def _names(connection: sqlite3.Connection, image_id: str) -> Names:
    """Those of one image."""
    found = (
        _grouped(connection.execute(every.replace("ORDER", "WHERE image_id = ? ORDER"), (image_id,)))
        for every in (_TAGS, _DIGESTS)
    )
    return Names(*found)


def _grouped(rows: Iterable[tuple[str, str]]) -> defaultdict[str, list[str]]:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for image_id, reference in rows:
        names[image_id].append(references.parse(reference).familiar)
    return names


def no_such_image(shown: str) -> NotFound:
    """docker's words for an image that is not here."""
    return NotFound(f"No such image: {shown}")


def is_hex(text: str) -> bool:
    """Whether this could be an image id or the beginning of one."""
    return 0 < len(text) <= 64 and not set(text) - set("0123456789abcdef")


Filter = Callable[[Image], bool]


def keep(images: Iterable[Image], filters: Iterable[Filter]) -> list[Image]:
    """The images that every filter takes."""
    every = list(filters)
    return [image for image in images if all(takes(image) for takes in every)]
