"""Tables of the containers room; the wiring appends ``MIGRATIONS`` to the store's.

A row holds what was asked for (``spec``) and how it stands (``state``) as JSON records of ``model.py``;
columns exist for what recovery decides by. Events are pruned to the time that ``events`` replays.
"""

from __future__ import annotations

from onggi.store.schema import Migration

MIGRATIONS: list[Migration] = [
    Migration(
        "containers",
        1,
        """
        CREATE TABLE containers (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            created_ns INTEGER NOT NULL,
            auto_remove INTEGER NOT NULL,
            run INTEGER NOT NULL,
            restarts INTEGER NOT NULL,
            next_start_ns INTEGER NOT NULL,
            stopped_by_user INTEGER NOT NULL,
            removing INTEGER NOT NULL,
            spec BLOB NOT NULL,
            state BLOB NOT NULL
        );
        CREATE TABLE events (
            time_ns INTEGER NOT NULL,
            message BLOB NOT NULL
        );
        CREATE INDEX events_by_time ON events (time_ns)
        """,
    )
]
