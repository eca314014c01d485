"""What the last build of each line of builds was made of, for `explaining`.

A line is what our command calls a context with its Dockerfile; docker's clients have none.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256

import msgspec

from onggi.build.explaining import Made
from onggi.store.database import Database
from onggi.store.schema import Migration

_MOST = 512  # stages that are remembered
MIGRATIONS = [
    Migration(
        "build_records",
        1,
        """
        CREATE TABLE build_records (
            line TEXT NOT NULL,
            stage TEXT NOT NULL,
            steps BLOB NOT NULL,
            used_ns INTEGER NOT NULL,
            PRIMARY KEY (line, stage)
        )
        """,
    )
]


async def load(database: Database, line: str) -> dict[str, list[Made]]:
    """The steps of each stage as they were done last."""
    query, key = "SELECT stage, steps FROM build_records WHERE line = ?", _key(line)
    rows = await database.run(lambda it: it.execute(query, (key,)).fetchall())
    return {stage: msgspec.json.decode(steps, type=list[Made]) for stage, steps in rows}


async def save(database: Database, line: str, stages: Mapping[str, Sequence[Made]]) -> None:
    """Remember the steps of stages, and forget those that were not built for longest."""
    key, now = _key(line), time.time_ns()
    rows = [(key, stage, msgspec.json.encode(steps), now) for stage, steps in stages.items()]

    def write(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT OR REPLACE INTO build_records VALUES (?, ?, ?, ?)", rows)
        connection.execute(
            "DELETE FROM build_records WHERE rowid NOT IN "
            "(SELECT rowid FROM build_records ORDER BY used_ns DESC LIMIT ?)",
            (_MOST,),
        )

    await database.run(write)


def _key(line: str) -> str:
    return sha256(line.encode()).hexdigest()
