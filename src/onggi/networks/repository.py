"""The rows of networks: SQL and nothing else. Functions of a connection, for ``Database.run``."""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection

import msgspec

from onggi.networks.model import Network
from onggi.store.schema import Migration

MIGRATIONS: list[Migration] = [
    Migration(
        "networks",
        1,
        """
        CREATE TABLE networks (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            spec BLOB NOT NULL
        )
        """,
    )
]
Statement = Callable[[Connection], None]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Network).decode


def save(network: Network) -> Statement:
    """Insert or replace a network."""
    row = (network.id, network.name, _encode(network))
    query = "INSERT OR REPLACE INTO networks (id, name, spec) VALUES (?, ?, ?)"
    return lambda connection: _execute(connection, query, row)


def delete(network_id: str) -> Statement:
    return lambda connection: _execute(connection, "DELETE FROM networks WHERE id = ?", (network_id,))


def _execute(connection: Connection, query: str, row: tuple[object, ...]) -> None:
    connection.execute(query, row)


def load_all(connection: Connection) -> list[Network]:
    """All networks, oldest first."""
    found = [_decode(spec) for (spec,) in connection.execute("SELECT spec FROM networks")]
    return sorted(found, key=lambda network: (network.created_ns, network.id))
