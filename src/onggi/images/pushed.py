"""Facts of what was pushed into the embedded registry: the rows behind ``serving``.

Each function takes the connection of a transaction. A row names its content twice: ``digest`` as its client
does (sha256 or sha512), ``content`` as the store does (sha256).

A blob stays while a manifest of its repository needs it, and a day without: long enough for the slowest push.
Repositories of a mirror have names that no client can spell (``mirror:docker.io/library/debian``); what
nobody has asked of them for a week goes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from onggi.registry.server.documents import Document, Referrer
from onggi.store.schema import Migration

MIRROR = "mirror:"
_HOUR_NS = 3600 * 10**9
# Not so if it was damaged and a repair has dropped it: then it can be pushed, or mirrored, again.
_HERE = "EXISTS (SELECT 1 FROM blobs b WHERE b.digest = content)"
_UNNEEDED_NS, _UNUSED_NS = 24 * _HOUR_NS, 7 * 24 * _HOUR_NS

MIGRATIONS: list[Migration] = [
    Migration(
        "registry",
        1,
        """
        CREATE TABLE registry_blobs (
            repository TEXT NOT NULL,
            digest TEXT NOT NULL,
            content TEXT NOT NULL,
            size INTEGER NOT NULL,
            linked_ns INTEGER NOT NULL,
            PRIMARY KEY (repository, digest)
        ) WITHOUT ROWID;
        CREATE INDEX registry_blobs_by_digest ON registry_blobs (digest);
        CREATE TABLE registry_manifests (
            repository TEXT NOT NULL,
            digest TEXT NOT NULL,
            content TEXT NOT NULL,
            media_type TEXT NOT NULL,
            subject TEXT NOT NULL,
            referrer BLOB NOT NULL,
            PRIMARY KEY (repository, digest)
        ) WITHOUT ROWID;
        CREATE INDEX registry_manifests_by_subject ON registry_manifests (repository, subject);
        CREATE TABLE registry_needs (
            repository TEXT NOT NULL,
            digest TEXT NOT NULL,
            manifest TEXT NOT NULL,
            PRIMARY KEY (repository, digest, manifest)
        ) WITHOUT ROWID;
        CREATE TABLE registry_tags (
            repository TEXT NOT NULL,
            tag TEXT NOT NULL,
            digest TEXT NOT NULL,
            updated_ns INTEGER NOT NULL,
            PRIMARY KEY (repository, tag)
        ) WITHOUT ROWID
        """,
    ),
    Migration("registry", 2, "ALTER TABLE registry_manifests ADD COLUMN used_ns INTEGER NOT NULL DEFAULT 0"),
]


class Kept(NamedTuple):
    """A blob of a repository."""

    content: str
    size: int


def keep(connection: sqlite3.Connection) -> set[str]:
    """The blobs that garbage collection keeps; forgets those that waited too long for a manifest."""
    _forget_unused(connection)
    needed = "SELECT 1 FROM registry_needs n WHERE n.repository = b.repository AND n.digest = b.digest"
    connection.execute(
        f"DELETE FROM registry_blobs AS b WHERE linked_ns < ? AND NOT EXISTS ({needed})",
        (time.time_ns() - _UNNEEDED_NS,),
    )
    query = "SELECT content FROM registry_blobs UNION SELECT content FROM registry_manifests"
    return {str(row[0]) for row in connection.execute(query)}


def _forget_unused(connection: sqlite3.Connection) -> None:
    """Drop what a mirror keeps and nobody uses."""
    query = "SELECT repository, digest FROM registry_manifests WHERE repository LIKE ? AND used_ns < ?"
    for repository, digest in connection.execute(
        query, (f"{MIRROR}%", time.time_ns() - _UNUSED_NS)
    ).fetchall():
        remove(connection, repository, digest)


def use(connection: sqlite3.Connection, repository: str, digest: str) -> None:
    """Note that a document was asked for; once an hour is enough."""
    now = time.time_ns()
    connection.execute(
        "UPDATE registry_manifests SET used_ns = ? WHERE repository = ? AND digest = ? AND used_ns < ?",
        (now, repository, digest, now - _HOUR_NS),
    )


def needed(connection: sqlite3.Connection, repository: str, digest: str) -> Kept | None:
    """A blob of the store that a document of this repository needs, whoever brought it."""
    query = (
        "SELECT size FROM blobs WHERE digest = ? AND EXISTS "
        "(SELECT 1 FROM registry_needs WHERE repository = ? AND digest = blobs.digest)"
    )
    row = connection.execute(query, (digest, repository)).fetchone()
    return Kept(digest, int(row[0])) if row else None


def blob(connection: sqlite3.Connection, repository: str, digest: str) -> Kept | None:
    """A blob that a repository has; with an empty name, that any has."""
    query = f"SELECT content, size FROM registry_blobs WHERE digest = ? AND ? IN (repository, '') AND {_HERE}"
    row = connection.execute(query, (digest, repository)).fetchone()
    return Kept(str(row[0]), int(row[1])) if row else None


def link(connection: sqlite3.Connection, repository: str, digest: str, kept: Kept) -> None:
    """Let a repository have a blob; its day begins again."""
    row = (repository, digest, *kept, time.time_ns())
    connection.execute("INSERT OR REPLACE INTO registry_blobs VALUES (?, ?, ?, ?, ?)", row)


def unlink(connection: sqlite3.Connection, repository: str, digest: str) -> bool:
    """Take a blob from a repository; False if it has none such."""
    query = "DELETE FROM registry_blobs WHERE repository = ? AND digest = ?"
    return connection.execute(query, (repository, digest)).rowcount > 0


def manifest(connection: sqlite3.Connection, repository: str, reference: str) -> tuple[str, str, str] | None:
    """Digest, content and media type of a document, by tag or digest."""
    query = "SELECT digest FROM registry_tags WHERE repository = ? AND tag = ?"
    row = connection.execute(query, (repository, reference)).fetchone()
    query = (
        "SELECT digest, content, media_type FROM registry_manifests "
        f"WHERE repository = ? AND digest = ? AND {_HERE}"
    )
    found: tuple[str, str, str] | None = connection.execute(
        query, (repository, row[0] if row else reference)
    ).fetchone()
    return found


def record(
    connection: sqlite3.Connection, repository: str, document: Document, content: str, tags: Sequence[str]
) -> None:
    """Write a document down, and let tags name it. Idempotent."""
    referrer = msgspec.json.encode(document.referrer())
    row = (repository, document.digest, content, document.media_type, document.subject, referrer)
    now = time.time_ns()
    connection.execute("INSERT OR REPLACE INTO registry_manifests VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, now))
    for digest in document.blobs:
        need = (repository, digest, document.digest)
        connection.execute("INSERT OR IGNORE INTO registry_needs VALUES (?, ?, ?)", need)
    for tag in tags:
        name(connection, repository, tag, document.digest)


def name(connection: sqlite3.Connection, repository: str, tag: str, digest: str) -> None:
    """Let a tag name a document."""
    row = (repository, tag, digest, time.time_ns())
    connection.execute("INSERT OR REPLACE INTO registry_tags VALUES (?, ?, ?, ?)", row)


def untag(connection: sqlite3.Connection, repository: str, tag: str) -> bool:
    """Take a tag away; False if there is none."""
    query = "DELETE FROM registry_tags WHERE repository = ? AND tag = ?"
    return connection.execute(query, (repository, tag)).rowcount > 0


def remove(connection: sqlite3.Connection, repository: str, digest: str) -> bool:
    """Take a document away, with its tags; False if there is none."""
    connection.execute("DELETE FROM registry_tags WHERE repository = ? AND digest = ?", (repository, digest))
    connection.execute(
        "DELETE FROM registry_needs WHERE repository = ? AND manifest = ?", (repository, digest)
    )
    query = "DELETE FROM registry_manifests WHERE repository = ? AND digest = ?"
    return connection.execute(query, (repository, digest)).rowcount > 0


def tags(connection: sqlite3.Connection, repository: str) -> set[str]:
    """The tags of a repository."""
    query = "SELECT tag FROM registry_tags WHERE repository = ?"
    return {str(row[0]) for row in connection.execute(query, (repository,))}


def exists(connection: sqlite3.Connection, repository: str) -> bool:
    """Whether a repository holds anything."""
    query = (
        "SELECT 1 FROM registry_blobs WHERE repository = ? "
        "UNION SELECT 1 FROM registry_manifests WHERE repository = ?"
    )
    return connection.execute(query, (repository, repository)).fetchone() is not None


def repositories(connection: sqlite3.Connection) -> set[str]:
    """The names of repositories that hold a document."""
    query = "SELECT DISTINCT repository FROM registry_manifests"
    return {str(row[0]) for row in connection.execute(query)}


def referrers(connection: sqlite3.Connection, repository: str, digest: str) -> list[Referrer]:
    """Documents whose subject is ``digest``, by digest."""
    query = (
        "SELECT referrer FROM registry_manifests WHERE repository = ? AND subject = ? AND subject != '' "
        "ORDER BY digest"
    )
    rows = connection.execute(query, (repository, digest))
    return [msgspec.json.decode(row[0], type=Referrer) for row in rows]
