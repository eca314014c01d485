"""Versioned tables: each room brings its own numbered migrations, an older build refuses a newer database.

The version of each room is a row of ``schema_versions``. Migrations only go forward; all that are pending
run in one transaction, so that a kill leaves the old version.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from onggi.errors import DataLoss, Unsupported

Step = str | Callable[[sqlite3.Connection], None]


class Migration(msgspec.Struct, frozen=True):
    """One step of one room: SQL statements separated by ``;``, or a function of the connection."""

    room: str
    version: int
    step: Step


_CONTENT = """
    CREATE TABLE blobs (
        digest TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        created_ns INTEGER NOT NULL
    );
    CREATE TABLE layer_blobs (
        digest TEXT PRIMARY KEY,
        diff_id TEXT NOT NULL,
        media_type TEXT NOT NULL
    );
    CREATE INDEX layer_blobs_by_diff ON layer_blobs (diff_id);
    CREATE TABLE manifests (
        digest TEXT PRIMARY KEY,
        media_type TEXT NOT NULL,
        image_id TEXT NOT NULL
    );
    CREATE INDEX manifests_by_image ON manifests (image_id);
    CREATE TABLE sources (
        repository TEXT NOT NULL,
        digest TEXT NOT NULL,
        image_id TEXT NOT NULL,
        PRIMARY KEY (repository, digest)
    );
    CREATE INDEX sources_by_image ON sources (image_id);
    CREATE TABLE leases (
        id TEXT PRIMARY KEY,
        expires_ns INTEGER NOT NULL
    );
    CREATE TABLE lease_items (
        lease TEXT NOT NULL REFERENCES leases (id) ON DELETE CASCADE,
        kind TEXT NOT NULL CHECK (kind IN ('blob', 'layer')),
        key TEXT NOT NULL,
        PRIMARY KEY (lease, kind, key)
    )
"""


def _content(connection: sqlite3.Connection) -> None:
    """Tables of content; the configs of images that exist get their rows."""
    for statement in _CONTENT.split(";"):
        connection.execute(statement)
    root = os.path.dirname(connection.execute("PRAGMA database_list").fetchone()[2])
    for digest, stored_ns in connection.execute("SELECT id, stored_ns FROM images").fetchall():
        name = digest.removeprefix("sha256:")
        try:
            size = os.stat(f"{root}/blobs/sha256/{name[:2]}/{name}").st_size
        except FileNotFoundError:
            continue  # the image is damaged, and says so when it is used
        connection.execute("INSERT INTO blobs VALUES (?, ?, ?)", (digest, size, stored_ns))


MIGRATIONS: list[Migration] = [
    Migration(
        "store",
        1,
        """
        CREATE TABLE snapshots (
            number INTEGER PRIMARY KEY,
            kind TEXT NOT NULL CHECK (kind IN ('layer', 'container')),
            key TEXT NOT NULL UNIQUE,
            spec BLOB NOT NULL
        );
        CREATE TABLE layers (
            chain_id TEXT PRIMARY KEY,
            parent TEXT,
            diff_id TEXT NOT NULL,
            number INTEGER NOT NULL UNIQUE,
            size INTEGER NOT NULL,
            created_ns INTEGER NOT NULL
        );
        CREATE TABLE images (
            id TEXT PRIMARY KEY,
            chain_id TEXT,
            size INTEGER NOT NULL,
            base TEXT,
            stored_ns INTEGER NOT NULL
        );
        CREATE TABLE tags (
            reference TEXT PRIMARY KEY,
            image_id TEXT NOT NULL,
            updated_ns INTEGER NOT NULL
        );
        CREATE INDEX tags_by_image ON tags (image_id)
        """,
    ),
    Migration("store", 2, _content),
    Migration(
        "store",
        3,
        """
        CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
        INSERT INTO facts SELECT 'driver', 'overlay2' FROM snapshots LIMIT 1
        """,
    ),
    Migration("store", 4, "ALTER TABLE layers ADD COLUMN disk INTEGER"),
    # What a build made on the way: there, by its id, for whoever asks, and listed only if all are.
    Migration("store", 5, "ALTER TABLE images ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0"),
    # See ``unsettled``.
    Migration(
        "store",
        6,
        "CREATE TABLE unsettled (kind TEXT, key TEXT, boot TEXT NOT NULL, PRIMARY KEY (kind, key))",
    ),
    Migration("store", 7, "ALTER TABLE images ADD COLUMN parent TEXT"),
]


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration], path: str) -> None:
    """Bring every room to its newest version. Raises Unsupported if the database is newer than this build."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_versions (room TEXT PRIMARY KEY, version INTEGER NOT NULL)"
    )
    stored = {
        str(room): int(version) for room, version in connection.execute("SELECT * FROM schema_versions")
    }
    refuse_newer(stored, latest(migrations), path)
    for migration in sorted(migrations, key=lambda item: item.version):
        if migration.version > stored.get(migration.room, 0):
            _apply(connection, migration, path)


def latest(migrations: Sequence[Migration]) -> dict[str, int]:
    """The newest version of each room."""
    versions: dict[str, int] = {}
    for migration in migrations:
        versions[migration.room] = max(versions.get(migration.room, 0), migration.version)
    return versions


def refuse_newer(stored: dict[str, int], known: dict[str, int], path: str) -> None:
    """Raise Unsupported, naming both versions, if the database holds what this build does not understand."""
    for room, version in sorted(stored.items()):
        if version > known.get(room, 0):
            raise Unsupported(
                f"the database {path} was written by a newer onggi: its {room} tables have version {version}"
                f", this onggi knows version {known.get(room, 0)}; use the newer onggi or another data root"
            )


def _apply(connection: sqlite3.Connection, migration: Migration, path: str) -> None:
    try:
        if callable(migration.step):
            migration.step(connection)
        else:
            for statement in migration.step.split(";"):
                connection.execute(statement)
    except sqlite3.Error as error:
        name = f"{migration.room} {migration.version}"
        raise DataLoss(f"migration {name} of the database {path} failed: {error}") from error
    connection.execute(
        "INSERT INTO schema_versions VALUES (?, ?) "
        "ON CONFLICT (room) DO UPDATE SET version = excluded.version",
        (migration.room, migration.version),
    )
