"""The rows of volumes: SQL and nothing else. Functions of a connection, for ``Database.run``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from sqlite3 import Connection

import msgspec

from onggi.volumes.model import Volume

Statement = Callable[[Connection], None]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Volume).decode


def insert(volumes: Sequence[Volume]) -> Statement:
    """Write rows, or find them written."""
    rows = [(volume.name, _encode(volume)) for volume in volumes]

    def statement(connection: Connection) -> None:
        connection.executemany("INSERT OR IGNORE INTO volumes VALUES (?, ?)", rows)

    return statement


def delete(names: Iterable[str]) -> Statement:
    """Drop rows."""
    rows = [(name,) for name in names]

    def statement(connection: Connection) -> None:
        connection.executemany("DELETE FROM volumes WHERE name = ?", rows)

    return statement


def load_all(connection: Connection) -> list[Volume]:
    """All volumes, by name."""
    return [_decode(row[0]) for row in connection.execute("SELECT volume FROM volumes ORDER BY name")]
