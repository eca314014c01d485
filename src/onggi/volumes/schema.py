"""Tables of the volumes room; the wiring appends ``MIGRATIONS`` to the store's.

Who holds a volume is no table: it follows from the rows of containers.
"""

from __future__ import annotations

from onggi.store.schema import Migration

MIGRATIONS: list[Migration] = [
    Migration(
        "volumes",
        1,
        """
        CREATE TABLE volumes (
            name TEXT PRIMARY KEY,
            volume BLOB NOT NULL
        )
        """,
    )
]
