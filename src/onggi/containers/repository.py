"""The rows of containers and events: SQL and nothing else.

Functions of a connection, for ``Database.run``.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from onggi.containers.model import Container, Spec, State, Statement

_COLUMNS = (
    "id, name, created_ns, auto_remove, run, restarts, next_start_ns, stopped_by_user, removing, spec, state"
)
_INSERT = f"INSERT OR REPLACE INTO containers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_STATE = (
    "UPDATE containers SET name = ?, auto_remove = ?, run = ?, restarts = ?, next_start_ns = ?,"
    " stopped_by_user = ?, removing = ?, state = ? WHERE id = ?"
)
Row = tuple[str, str, int, bool, int, int, int, bool, bool, bytes, bytes]
encode = msgspec.json.Encoder().encode
_decode_spec = msgspec.json.Decoder(Spec).decode
_decode_state = msgspec.json.Decoder(State).decode


def insert(container: Container, *beside: Statement) -> Statement:
    """Write the whole row, and what belongs ``beside`` it. What is written is fixed now, on the caller's
    thread.
    """
    row = row_of(container)
    return lambda connection: _execute(connection, _INSERT, row, *beside)


def row_of(container: Container) -> Row:
    """The whole row."""
    return (
        container.id,
        container.name,
        container.created_ns,
        container.spec.host_config.auto_remove,
        container.run,
        container.restarts,
        container.next_start_ns,
        container.stopped_by_user,
        container.removing,
        encode(container.spec),
        encode(container.state),
    )


def insert_missing(connection: sqlite3.Connection, row: Row) -> None:
    """Write a row unless there is one of that container or name."""
    connection.execute(_INSERT.replace("REPLACE", "IGNORE"), row)


def save_state(container: Container, *beside: Statement) -> Statement:
    """Write everything but what was asked for, and what belongs ``beside`` it."""
    row = (
        container.name,
        container.spec.host_config.auto_remove,
        container.run,
        container.restarts,
        container.next_start_ns,
        container.stopped_by_user,
        container.removing,
        encode(container.state),
        container.id,
    )
    return lambda connection: _execute(connection, _STATE, row, *beside)


def delete(container_id: str, *beside: Statement) -> Statement:
    """Drop the row, and what belongs ``beside`` it."""
    query = "DELETE FROM containers WHERE id = ?"
    return lambda connection: _execute(connection, query, (container_id,), *beside)


def _execute(
    connection: sqlite3.Connection, statement: str, row: tuple[Any, ...], *beside: Statement
) -> None:
    for other in beside:
        other(connection)
    connection.execute(statement, row)


def load_all(connection: sqlite3.Connection) -> list[Container]:
    """All containers, oldest first."""
    query = f"SELECT {_COLUMNS} FROM containers ORDER BY created_ns, id"
    return [_load(row) for row in connection.execute(query)]


def _load(row: tuple[Any, ...]) -> Container:
    container_id, name, created_ns, _, run, restarts, next_start_ns, stopped, removing, spec, state = row
    container = Container(container_id, name, created_ns, _decode_spec(spec), _decode_state(state))
    container.run, container.restarts, container.next_start_ns = run, restarts, next_start_ns
    container.stopped_by_user, container.removing = bool(stopped), bool(removing)
    container.stored = True
    return container


def append_events(rows: list[tuple[int, bytes]], keep_after_ns: int) -> Statement:
    """Store events and forget those older than ``keep_after_ns``."""

    def statement(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO events (time_ns, message) VALUES (?, ?)", rows)
        connection.execute("DELETE FROM events WHERE time_ns < ?", (keep_after_ns,))

    return statement


def load_events(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
    """Stored events in order of their time."""
    return [
        (int(time), bytes(message))
        for time, message in connection.execute("SELECT * FROM events ORDER BY time_ns")
    ]
