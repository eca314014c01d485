"""Rows whose files need not be on the disk yet: of what builds and loads make on their way.

After a power loss such a row may be there and its files not. So each has a second row, written with it. The
next durable commit drops that, behind one sync of everything, before anything can be promised that stands on
it; the first engine after a boot drops what still has one. A kill takes nothing: the kernel has the files.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import Literal

from onggi.errors import KernelError
from onggi.kernel.failpoints import skipped
from onggi.kernel.process import boot_id
from onggi.store.durable import sync_tree

Kind = Literal["blob", "layer"]
_GONE = """
    CREATE TEMP TABLE gone AS
    WITH RECURSIVE above(id) AS (
        SELECT key FROM unsettled WHERE kind = 'layer'
        UNION SELECT layers.chain_id FROM layers JOIN above ON layers.parent = above.id
    )
    SELECT id FROM above UNION SELECT key FROM unsettled WHERE kind = 'blob'
"""


class Unsettled:
    """What is not settled in one database. Connections are those of its thread."""

    def __init__(self, directory: str) -> None:
        """``directory`` lies on the file system that is synced."""
        self._directory, self._fd = directory, -1
        self._noted = self._synced = 0  # how many were noted, and before the last sync began
        self.rows = False  # whether there may be any
        self._error: KernelError | None = None
        self._lock = threading.Lock()

    @property
    def pending(self) -> bool:
        """Whether a sync is due before the next durable commit. From any thread."""
        return self._noted > self._synced

    def recover(self, connection: sqlite3.Connection, *, rebooted: bool) -> None:
        """At start: drop what a boot may have damaged; what an engine left in this one is still to settle."""
        boots = {row[0] for row in connection.execute("SELECT DISTINCT boot FROM unsettled")}
        if (rebooted or boots - {boot_id()}) and not skipped("store.unsettled.drop"):
            self.drop(connection)
        elif boots:
            self._await()

    def note(self, connection: sqlite3.Connection, kind: Kind, key: str) -> None:
        """Note, in the transaction that writes its row, that files are whole but perhaps not on the disk."""
        connection.execute("INSERT OR IGNORE INTO unsettled VALUES (?, ?, ?)", (kind, key, boot_id()))
        self._await()

    def sync(self) -> None:
        """Have everything on the disk that was noted so far. Blocking, from any thread.

        Raises KernelError until ``drop``, again and again: the kernel says only once that it could not write.
        """
        with self._lock:
            if self._error:
                raise self._error
            noted = self._noted
            if noted == self._synced:
                return
            try:
                sync_tree(self._fd)
            except KernelError as error:
                self._error = KernelError("syncfs", error.errno, self._directory)
                raise self._error from None
            self._synced = noted

    def settle(self, connection: sqlite3.Connection) -> None:
        """Forget, in a durable transaction behind ``sync``, that anything was not settled."""
        connection.execute("DELETE FROM unsettled")

    def drop(self, connection: sqlite3.Connection) -> None:
        """Drop the rows of everything that is not settled, and of what stands on it."""
        connection.execute(_GONE)
        for table, column in (
            ("snapshots", "key"), ("images", "chain_id"), ("images", "id"), ("layers", "chain_id"),
            ("layer_blobs", "digest"), ("blobs", "digest"),
        ):  # fmt: skip
            connection.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT id FROM gone)")
        connection.execute("DROP TABLE gone")
        connection.execute("DELETE FROM unsettled")

    def committed(self) -> None:
        """Nothing is left: ``settle`` or ``drop`` was committed."""
        with self._lock:
            self._error, self._synced, self.rows = None, self._noted, False

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _await(self) -> None:
        if self._fd < 0:  # from now on it hears of what could not be written
            self._fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._noted += 1
        self.rows = True
