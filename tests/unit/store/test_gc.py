"""Garbage collection: what a root reaches stays, all else goes, rows before files."""

import asyncio
import errno
import os

import pytest

from onggi.errors import KernelError
from onggi.kernel import failpoints
from onggi.oci.digest import chain_ids, sha256
from onggi.store import gc
from onggi.store.trash import Trash

CHAIN = chain_ids([sha256(b"one"), sha256(b"two"), sha256(b"three")])


def put(store, *texts, fail=False):
    """Bring blobs under one lease; returns their digests."""

    async def scenario():
        digests = []
        async with store.content.lease() as lease:
            digests = [await lease.put(text.encode()) for text in texts]
            if fail:
                raise InterruptedError
        return digests

    if fail:
        with pytest.raises(InterruptedError):
            store.run(scenario)
        return [sha256(text.encode()) for text in texts]
    return store.run(scenario)


def layers(store, count=3):
    """Rows and directories of a chain of layers."""
    for index, chain_id in enumerate(CHAIN[:count]):
        diff_id = sha256(("one", "two", "three")[index].encode())
        parent = CHAIN[index - 1] if index else None
        row = (chain_id, parent, diff_id, index + 1, 0, 0)
        store.execute("INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?, NULL)", *row)
        store.execute("INSERT INTO snapshots VALUES (?, 'layer', ?, x'')", index + 1, chain_id)
        os.makedirs(f"{store.layout.snapshot(index + 1)}/fs")


def image(store, digest, chain_id=None):
    store.execute(
        "INSERT INTO images (id, chain_id, size, base, stored_ns) VALUES (?, ?, 0, NULL, 0)", digest, chain_id
    )


def collect(store, **options):
    garbage = store.run(lambda: store.collector.run(**options))
    store.trash.close()
    return garbage


def test_an_image_keeps_config_manifest_source_and_layers_with_their_blobs(store):
    config, manifest, index, blob, other, lost = put(
        store, "config", "manifest", "index", "blob", "gz", "lost"
    )
    layers(store)
    image(store, config, CHAIN[1])
    store.execute("INSERT INTO manifests VALUES (?, 'm', ?)", manifest, config)
    store.execute("INSERT INTO sources VALUES ('docker.io/library/it', ?, ?)", index, config)
    store.execute("INSERT INTO layer_blobs VALUES (?, ?, 't')", blob, sha256(b"one"))
    store.execute("INSERT INTO layer_blobs VALUES (?, ?, 't')", other, sha256(b"three"))
    garbage = collect(store)
    assert garbage.layers == [(CHAIN[2], 3)]
    assert set(garbage.blobs) == {other, lost}
    assert store.rows() == store.files() == {config, manifest, index, blob}
    assert sorted(os.listdir(store.layout.snapshots)) == ["1", "2"]
    assert store.rows("layer_blobs") == {blob}
    store.execute("DELETE FROM images")
    collect(store)
    for table in ("blobs", "layers", "layer_blobs", "manifests", "sources", "snapshots"):
        assert store.rows(table) == set()
    assert store.files() == set()
    assert os.listdir(store.layout.snapshots) == []


def test_what_is_leased_stays_until_the_lease_is_given_back(store):
    layers(store)

    async def scenario():
        async with store.content.lease() as lease:
            digest = await lease.put(b"blob")
            assert await lease.have_layer(CHAIN[1])
            assert not await lease.have_layer(sha256(b"other"))
            assert await lease.have_blob(sha256(b"to come")) is None
            garbage = await store.collector.run()
            assert garbage.layers == [(CHAIN[2], 3)]
            assert (garbage.blobs, garbage.leased) == ([], {digest, sha256(b"to come")})
        return await store.collector.run()

    garbage = store.run(scenario)
    assert garbage.layers == [(CHAIN[0], 1), (CHAIN[1], 2)]
    assert garbage.blobs == [sha256(b"blob")]


def test_without_protection_gc_eats_work_in_progress(store, monkeypatch):
    """The proof that the test above looks: with the step out of force the blob goes."""
    monkeypatch.setattr(failpoints, "_name", "store.lease.protect")
    monkeypatch.setattr(failpoints, "_error", "skip")

    async def scenario():
        async with store.content.lease() as lease:
            await lease.put(b"blob")
            return await store.collector.run()

    assert store.run(scenario).blobs == [sha256(b"blob")]


def test_a_failed_operation_keeps_what_it_brought_until_its_lease_expires(store):
    digests = put(store, "blob", fail=True)
    partial = sha256(b"partial")
    store.execute("INSERT INTO lease_items SELECT id, 'blob', ? FROM leases", partial)
    for name in (partial, sha256(b"unwanted")):
        open(f"{store.layout.ingest}/{name[7:]}", "w").close()
    assert collect(store).blobs == []
    assert store.partials() == [partial[7:]]
    store.restart()
    assert store.rows() == store.files() == set(digests)
    store.execute("UPDATE leases SET expires_ns = 1")
    assert collect(store).blobs == digests
    assert store.rows("leases") == store.rows("lease_items") == store.files() == set()
    assert store.partials() == []


def test_abandoned_leases_may_go_at_once_but_none_in_progress(store):
    digests = put(store, "left", fail=True)

    async def scenario():
        async with store.content.lease(ttl_s=0) as lease:
            kept = await lease.put(b"kept")
            collect = store.collector.collect
            garbage = await store.database.run(lambda it: collect(it, abandoned=True), durable=True)
            assert store.rows() == {kept}
            return garbage

    assert store.run(scenario).blobs == digests


def test_rows_go_durably_before_files(store, monkeypatch):
    put(store, "blob")
    seen = []

    monkeypatch.setattr("onggi.store.gc.failpoint", lambda name: seen.append((name, len(store.files()))))
    collect(store)
    assert seen == [("store.gc.before_commit", 1), ("store.gc.after_commit", 1)]
    assert store.files() == set()


def test_what_a_kill_left_between_rows_and_files_goes_at_start(store, monkeypatch):
    put(store, "blob")
    layers(store, 1)
    monkeypatch.setattr(store.collector, "discard", lambda garbage: None)
    collect(store)
    assert store.files()
    assert os.listdir(store.layout.snapshots) == ["1"]
    store.restart()
    assert store.files() == set()
    assert os.listdir(store.layout.snapshots) == []


def test_the_trash_deletes_what_it_is_given(tmp_path):
    trash = Trash(str(tmp_path / "trash"))
    (tmp_path / "trash").mkdir()
    (tmp_path / "tree" / "below").mkdir(parents=True)
    for number in range(50):
        (tmp_path / f"file{number}").write_text("x")
        trash.put(str(tmp_path / f"file{number}"))
    trash.put(str(tmp_path / "tree"))
    trash.put(str(tmp_path / "absent"))
    trash.close()
    assert os.listdir(tmp_path) == ["trash"]
    assert os.listdir(tmp_path / "trash") == []
    (tmp_path / "later").touch()
    assert trash.put_aside(str(tmp_path / "later"))
    assert len(os.listdir(tmp_path / "trash")) == 1
    trash.empty()
    assert os.listdir(tmp_path / "trash") == []


def test_what_cannot_be_collected_now_is_tried_again(store, monkeypatch):
    """The disk may be full for a while, which must not end the house-keeping."""
    monkeypatch.setattr(gc, "_RETRY_S", 0.001)
    tries = []

    async def run():
        tries.append(len(tries))
        if len(tries) < 3:
            raise KernelError("write", errno.ENOSPC, "meta.db")

    async def scenario():
        monkeypatch.setattr(store.collector, "run", run)
        store.content.spent.set()
        keeping = asyncio.create_task(store.collector.keep_house())
        while len(tries) < 3:
            await asyncio.sleep(0)
        keeping.cancel()

    store.run(scenario)
    assert tries == [0, 1, 2]


@pytest.mark.parametrize("turns", range(5))
def test_house_keeping_ends_though_something_was_spent_that_moment(store, turns):
    """An engine waits for it when it ends."""

    async def scenario():
        keeping = asyncio.create_task(store.collector.keep_house())
        await asyncio.sleep(0)
        store.content.spent.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        keeping.cancel()
        assert (await asyncio.wait([keeping], timeout=30))[0]

    store.run(scenario)


def test_an_operation_is_done_also_where_its_lease_cannot_be_given_back(store, monkeypatch):
    async def scenario():
        async with store.content.lease() as lease:
            await lease.put(b"text")
            monkeypatch.setattr(store.content.database, "run", full)

    async def full(*_, **__):
        raise KernelError("write", errno.ENOSPC, "meta.db")

    store.run(scenario)
    assert store.content.spent.is_set()
    assert not store.content.held
