import asyncio
import os
import sqlite3
import stat
import time

import pytest

from onggi.errors import DataLoss, Unavailable, Unsupported
from onggi.store.database import Database
from onggi.store.layout import Layout
from onggi.store.schema import MIGRATIONS, Migration


def tables(database):
    return database.run_blocking(lambda it: {row[0] for row in it.execute("SELECT name FROM sqlite_master")})


def versions(database):
    return dict(database.run_blocking(lambda it: it.execute("SELECT * FROM schema_versions").fetchall()))


def test_migrates_forward_in_order(tmp_path):
    path = str(tmp_path / "meta.db")
    steps = [Migration("a", 1, "CREATE TABLE one (x); INSERT INTO one VALUES (1)")]
    Database(path, steps).close()
    seen = []
    steps += [Migration("a", 3, lambda it: seen.append(3)), Migration("a", 2, lambda it: seen.append(2))]
    steps += [Migration("b", 1, "CREATE TABLE two (x)")]
    database = Database(path, steps)
    assert seen == [2, 3]
    assert versions(database) == {"a": 3, "b": 1}
    assert {"one", "two"} <= tables(database)
    assert database.run_blocking(lambda it: it.execute("SELECT x FROM one").fetchall()) == [(1,)]
    database.close()


@pytest.mark.parametrize("known", [[], [Migration("a", 1, "CREATE TABLE one (x)")]])
def test_an_older_build_refuses_with_both_versions(tmp_path, known):
    path = str(tmp_path / "meta.db")
    Database(path, [Migration("a", 7, "CREATE TABLE one (x)")]).close()
    expected = f"its a tables have version 7, this onggi knows version {len(known)}"
    with pytest.raises(Unsupported, match=expected):
        Database(path, known)


def test_a_failed_migration_leaves_the_old_version(tmp_path):
    path = str(tmp_path / "meta.db")
    Database(path, [Migration("a", 1, "CREATE TABLE one (x)")]).close()
    bad = [Migration("a", 1, ""), Migration("a", 2, "CREATE TABLE two (x); nonsense")]
    with pytest.raises(DataLoss, match="a 2"):
        Database(path, bad)
    database = Database(path, [Migration("a", 1, "")])
    assert "two" not in tables(database)
    database.close()


def test_damaged_file_is_data_loss(tmp_path):
    path = tmp_path / "meta.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(DataLoss, match="damaged"):
        Database(str(path), MIGRATIONS)


def test_error_rolls_back_and_the_thread_goes_on(tmp_path):
    database = Database(str(tmp_path / "meta.db"), [Migration("a", 1, "CREATE TABLE one (x)")])

    def broken(connection):
        connection.execute("INSERT INTO one VALUES (1)")
        raise ValueError("no")

    async def scenario():
        with pytest.raises(ValueError, match="no"):
            await database.run(broken)
        after = []
        await database.run(
            lambda it: it.execute("INSERT INTO one VALUES (2)"), durable=True, after=after.append
        )
        assert len(after) == 1
        return await database.run(lambda it: it.execute("SELECT x FROM one").fetchall())

    assert asyncio.run(scenario()) == [(2,)]
    database.close()
    database.close()
    with pytest.raises(Unavailable, match="closed"):
        database.run_blocking(lambda it: None)


def test_durable_commits_are_synced(tmp_path):
    database = Database(str(tmp_path / "meta.db"), [])
    sync = lambda it: it.execute("PRAGMA synchronous").fetchone()[0]  # noqa: E731
    assert database.run_blocking(sync) == 1
    assert database.run_blocking(sync, durable=True) == 2
    assert database.run_blocking(sync) == 1
    database.close()


def test_the_log_is_moved_into_the_file_when_it_grows(tmp_path):
    path = str(tmp_path / "meta.db")
    database = Database(path, [Migration("a", 1, "CREATE TABLE one (x)")])
    database.run_blocking(lambda it: it.execute("INSERT INTO one VALUES (zeroblob(6000000))"))
    deadline = time.monotonic() + 30
    while os.stat(path + "-wal").st_size:  # behind the answer, and not while another asks
        assert time.monotonic() < deadline
    assert os.stat(path).st_size > 6_000_000
    database.close()


def test_modes_whatever_the_umask(tmp_path):
    previous = os.umask(0)
    try:
        layout = Layout(str(tmp_path / "root"))
        layout.create()
        database = Database(layout.database, MIGRATIONS)
        database.run_blocking(lambda it: it.execute("SELECT 1"), durable=True)
        for directory, names, files in os.walk(layout.root):
            for name in [*names, *files, ""]:
                mode = stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode)
                assert not mode & 0o077, (directory, name, oct(mode))
        database.close()
    finally:
        os.umask(previous)


def test_wal_mode(tmp_path):
    path = str(tmp_path / "meta.db")
    Database(path, MIGRATIONS).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_configs_of_an_older_store_get_rows(tmp_path):
    layout = Layout(str(tmp_path))
    layout.create()
    digest, lost = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
    old = Database(layout.database, [step for step in MIGRATIONS if step.version == 1])
    for name in (digest, lost):
        insert = "INSERT INTO images VALUES (?, NULL, 0, NULL, 77)"
        old.run_blocking(lambda it, name=name, insert=insert: it.execute(insert, (name,)))
    old.close()
    os.mkdir(f"{layout.blobs}/ab")
    with open(f"{layout.blobs}/ab/{digest[7:]}", "w") as file:
        file.write("four")
    new = Database(layout.database, MIGRATIONS)
    assert new.run_blocking(lambda it: it.execute("SELECT * FROM blobs").fetchall()) == [(digest, 4, 77)]
    new.close()
