"""Rows whose files are not on the disk yet: synced before a durable commit, dropped behind a boot."""

import os
import threading
from errno import EIO
from pathlib import Path

import pytest

from onggi.errors import KernelError
from onggi.kernel import syscalls
from onggi.oci.digest import sha256
from onggi.store import unsettled
from onggi.store.layers import Layer, Layers
from onggi.store.layout import Layout

DATA = b"what a build made"
DIGEST = sha256(DATA)
A, B, C = (sha256(letter) for letter in (b"a", b"b", b"c"))


@pytest.fixture
def syncs(monkeypatch):
    """The thread of each sync."""
    found = []
    monkeypatch.setattr(syscalls, "syncfs", lambda fd: found.append(threading.get_ident()))
    return found


async def put(store, data=DATA, *, durable=False):
    async with store.content.lease() as lease:
        return await lease.put(data, durable=durable)


def waiting(store):
    return {(kind, key) for kind, key, _ in store.execute("SELECT * FROM unsettled")}


def drop(store, *, rebooted):
    it = store.database.unsettled
    store.database.run_blocking(lambda connection: it.recover(connection, rebooted=rebooted))


def test_a_durable_commit_syncs_what_waits_once(store, syncs):
    async def scenario():
        await put(store)
        await put(store, b"other")
        assert waiting(store) == {("blob", DIGEST), ("blob", sha256(b"other"))}
        assert not syncs
        await put(store, b"promised", durable=True)
        assert len(syncs) == 1
        assert syncs[0] != store.database._thread.ident, "others work meanwhile"
        assert waiting(store) == set()
        await put(store, b"promised too", durable=True)
        assert len(syncs) == 1

    store.run(scenario)


def test_to_promise_what_is_here_settles_it(store, syncs):
    store.run(lambda: put(store))
    store.run(lambda: put(store, durable=True))
    assert len(syncs) == 1
    assert waiting(store) == set()


def test_a_boot_takes_what_waits_and_what_stands_on_it(store, monkeypatch):
    def layers(connection):
        for number, (diff_id, parents) in enumerate(((A, []), (B, [A]), (C, []))):
            layer = Layer(1000 + number, diff_id, 0, durable=diff_id != A)
            record(connection, store.snapshots, layer, parents)
        for image_id, chain_id in ((DIGEST, C), (sha256(b"promised"), A)):
            connection.execute("INSERT INTO images VALUES (?, ?, 0, NULL, 0, 1, NULL)", (image_id, chain_id))
        connection.execute("INSERT INTO layer_blobs VALUES (?, ?, 'a')", (DIGEST, C))

    store.run(lambda: put(store, b"promised", durable=True))
    store.run(lambda: put(store))
    store.database.run_blocking(layers)
    drop(store, rebooted=False)
    assert len(store.rows("layers")) == 3
    monkeypatch.setattr(unsettled, "boot_id", lambda: "another")
    drop(store, rebooted=False)
    assert store.rows("blobs") == {sha256(b"promised")}
    assert store.rows("images") == set()
    assert store.execute("SELECT * FROM layer_blobs") == []
    assert store.execute("SELECT diff_id FROM layers") == [(C,)]
    assert store.execute("SELECT number FROM snapshots") == [(1002,)]
    assert waiting(store) == set()


def test_a_boot_that_only_the_run_directory_shows(store):
    store.run(lambda: put(store))
    drop(store, rebooted=True)
    assert (store.rows("blobs"), waiting(store)) == (set(), set())


def test_what_a_killed_engine_left_is_still_to_settle(store):
    store.run(lambda: put(store))
    after = unsettled.Unsettled(store.layout.root)
    store.database.run_blocking(lambda connection: after.recover(connection, rebooted=False))
    assert (after.pending, after.rows) == (True, True)
    after.close()


def record(connection, snapshots, layer, parents):
    Layers(Layout("/absent"), snapshots, None).record(connection, layer, parents)


def test_what_cannot_be_synced_loses_its_rows(store, monkeypatch):
    """The kernel says so once: a second sync would find nothing wrong."""
    answers, lost = [KernelError("syncfs", EIO)], []
    monkeypatch.setattr(syscalls, "syncfs", lambda fd: fail(answers))
    store.database.on_lost = lambda: lost.append(True)
    store.run(lambda: put(store))
    with pytest.raises(KernelError, match=f"syncfs {store.layout.root}: input/output error"):
        store.run(lambda: put(store, b"promised", durable=True))
    assert lost
    assert DIGEST not in store.rows("blobs")
    store.run(lambda: put(store, b"promised", durable=True))
    assert store.rows("blobs") == {sha256(b"promised")}
    store.run(lambda: put(store))
    store.run(lambda: put(store, durable=True))
    assert DIGEST in store.rows("blobs"), "the error went with its rows"


def fail(answers):
    if answers:
        raise answers.pop()


def test_an_unsynced_file_takes_nobodys_place(store, tmp_path):
    target = store.content.path(DIGEST)
    for name, data in (("first", b"synced"), ("second", b"not synced")):
        (tmp_path / name).write_bytes(data)
        store.content.blobs.publish(str(tmp_path / name), DIGEST, durable=name == "first")
    assert Path(target).read_bytes() == b"synced"
    assert not os.path.exists(tmp_path / "second")


def test_an_engine_that_ends_leaves_nothing_to_a_boot(store, syncs):
    store.run(lambda: put(store))
    store.restart()
    assert waiting(store) == set()
    assert len(syncs) == 1
