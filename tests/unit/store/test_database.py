"""The database when the disk beneath it fails."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from errno import EIO, ENOSPC
from pathlib import Path

import pytest

from onggi.errors import KernelError
from onggi.store.database import Database
from onggi.store.schema import Migration


def failing(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
    return error


def test_an_error_of_the_disk_names_the_database_and_commits_are_written_again(tmp_path: Path) -> None:
    path = str(tmp_path / "meta.db")
    database = Database(path, [Migration("one", 1, "CREATE TABLE rows (it)")])

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO rows VALUES (2)")
        raise failing("SQLITE_IOERR_FSYNC")

    def insert(connection: sqlite3.Connection) -> int:
        log = os.stat(f"{path}-wal").st_size
        connection.execute("INSERT INTO rows VALUES (1)")
        return log

    assert database.run_blocking(insert) > 0
    with pytest.raises(KernelError, match=f"fsync {path}: input/output error") as raised:
        database.run_blocking(fail)
    assert raised.value.errno == EIO
    assert database.run_blocking(insert) > 0
    assert database.run_blocking(insert, durable=True) == 0  # the log had been moved into the file
    assert database.run_blocking(lambda it: it.execute("SELECT it FROM rows").fetchall()) == [(1,)] * 3
    database.close()


def test_what_frees_room_takes_the_reserve_once(tmp_path: Path) -> None:
    path = str(tmp_path / "meta.db")
    reserve = Path(f"{path}-reserve")
    database = Database(path, [Migration("one", 1, "CREATE TABLE rows (it)")])
    found: list[bool] = []

    def fail(connection: sqlite3.Connection) -> None:
        found.append(reserve.exists())
        raise failing("SQLITE_FULL")

    async def run() -> None:
        for frees in (False, True):
            with pytest.raises(KernelError) as raised:
                await database.run(fail, frees=frees)
            assert raised.value.errno == ENOSPC

    asyncio.run(run())
    assert found == [True, True, False]
    database.run_blocking(lambda it: None)
    database.close()
    assert reserve.stat().st_size == 4 << 20  # taken again as soon as there was room
