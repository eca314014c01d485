"""Blobs count only when they are whole, durable and have their row; what is partial is taken up again."""

import asyncio
import os
import stat
from errno import EIO, ENOSPC

import pytest

from onggi.errors import DataLoss, InvalidArgument, KernelError, NotFound
from onggi.kernel import failpoints
from onggi.oci.digest import sha256
from onggi.store import durable, space

DATA = bytes(range(256)) * 1000
DIGEST = sha256(DATA)
SIZE = len(DATA)


async def bring(content, data=DATA, digest=DIGEST, size=SIZE):
    async with content.lease() as lease:
        writer = lease.writer(digest, size)
        try:
            writer.write(data[writer.offset :])
            return await lease.commit(writer)
        finally:
            writer.close()


def test_a_blob_is_kept_immutable_with_its_row(store):
    assert store.run(lambda: bring(store.content)) == (DIGEST, len(DATA))
    path = store.content.path(DIGEST)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o444
    assert store.execute("SELECT digest, size FROM blobs") == [(DIGEST, len(DATA))]
    assert store.partials() == []
    assert store.run(lambda: store.content.read(DIGEST)) == DATA
    assert store.rows("leases") == set()


def test_what_is_here_is_said_and_not_written_twice(store):
    async def scenario():
        await bring(store.content)
        inode = os.stat(store.content.path(DIGEST)).st_ino
        async with store.content.lease() as lease:
            assert await lease.have_blob(DIGEST) == len(DATA)
            assert await lease.have_blob(sha256(b"other")) is None
            assert await lease.put(DATA) == DIGEST
        assert os.stat(store.content.path(DIGEST)).st_ino == inode

    store.run(scenario)
    assert store.partials() == []


def test_a_wrong_digest_is_refused_and_forgotten(store):
    wrong = sha256(b"something else")
    with pytest.raises(DataLoss, match=f"filesystem layer verification failed for digest {wrong}") as caught:
        store.run(lambda: bring(store.content, digest=wrong))
    assert f"unexpected commit digest {DIGEST}, expected {wrong}" in str(caught.value)
    assert store.partials() == []
    assert store.rows() == store.files() == set()


def test_a_blob_that_is_too_long_is_refused_at_the_first_byte_too_many(store):
    with pytest.raises(InvalidArgument, match="unexpected commit size"):
        store.run(lambda: bring(store.content, size=len(DATA) - 1))
    assert store.partials() == []


def test_a_blob_that_is_too_short_is_refused_and_continued(store):
    with pytest.raises(DataLoss, match=f"unexpected commit size 1000, expected {len(DATA)}"):
        store.run(lambda: bring(store.content, data=DATA[:1000]))
    assert store.partials() == [DIGEST[7:]]
    store.execute("INSERT OR IGNORE INTO lease_items SELECT id, 'blob', ? FROM leases", DIGEST)
    store.restart()
    writer = store.content.ingest.writer(DIGEST, len(DATA))
    assert writer.offset == 1000
    writer.close()
    assert store.run(lambda: bring(store.content)) == (DIGEST, len(DATA))


def test_a_partial_blob_with_wrong_bytes_is_found_out(store):
    with open(f"{store.layout.ingest}/{DIGEST[7:]}", "wb") as file:
        file.write(b"x" * 1000)
    with pytest.raises(DataLoss, match="unexpected commit digest"):
        store.run(lambda: bring(store.content))
    assert store.partials() == []
    store.run(lambda: bring(store.content))


def test_a_partial_blob_that_is_longer_than_the_blob_is_begun_again(store):
    with open(f"{store.layout.ingest}/{DIGEST[7:]}", "wb") as file:
        file.write(DATA + b"more")
    writer = store.content.ingest.writer(DIGEST, len(DATA))
    assert writer.offset == 0
    writer.close()


def test_a_source_that_cannot_continue_begins_again(store):
    async def scenario():
        async with store.content.lease() as lease:
            writer = lease.writer(DIGEST, len(DATA))
            writer.write(b"nonsense" * 10)
            writer.seek_back_to_zero()
            writer.write(DATA)
            return await lease.commit(writer)

    assert store.run(scenario) == (DIGEST, len(DATA))


def test_two_writers_of_one_blob_do_not_mix(store):
    async def scenario():
        async with store.content.lease() as lease, store.content.lease() as other:
            writers = lease.writer(DIGEST, len(DATA)), other.writer(DIGEST, len(DATA))
            for start in range(0, len(DATA), 1000):
                for writer in writers:
                    writer.write(DATA[start : start + 1000])
            assert await lease.commit(writers[0]) == await other.commit(writers[1]) == (DIGEST, len(DATA))

    store.run(scenario)
    assert store.files() == {DIGEST}
    assert store.partials() == []


def test_a_stream_learns_its_digest_at_the_end(store):
    async def scenario(expected=""):
        async with store.content.lease() as lease:
            writer = await asyncio.to_thread(lease.stream)
            writer.write(DATA)
            return await lease.commit(writer, expected)

    assert store.run(scenario) == (DIGEST, len(DATA))
    with pytest.raises(DataLoss, match="unexpected commit digest"):
        store.run(lambda: scenario(sha256(b"x")))
    writer = store.content.ingest.stream()
    writer.write(b"half")
    writer.close()
    assert store.partials() == []


def test_malformed_digests_and_sizes_do_not_become_paths(store):
    with pytest.raises(InvalidArgument, match="invalid digest"):
        store.content.ingest.writer("sha256:../../etc/passwd", 1)
    with pytest.raises(InvalidArgument, match="invalid size"):
        store.content.ingest.writer(DIGEST, -1)
    with pytest.raises(InvalidArgument, match="invalid digest"):
        store.content.path("sha256:..")


def test_damage_is_seen_when_it_is_read(store):
    store.run(lambda: bring(store.content))
    os.chmod(store.content.path(DIGEST), 0o600)
    with open(store.content.path(DIGEST), "r+b") as file:
        file.write(b"!")
    with pytest.raises(DataLoss, match="is damaged"):
        store.run(lambda: store.content.read(DIGEST))
    with pytest.raises(NotFound, match="no such blob"):
        store.run(lambda: store.content.read(sha256(b"")))


def test_a_full_disk_is_said_before_anything_is_written(store, monkeypatch):
    monkeypatch.setattr(space, "room", lambda path: 1000)
    with pytest.raises(KernelError, match=f"{DIGEST} needs 256000 bytes, 1000 may be taken") as caught:
        store.run(lambda: bring(store.content))
    assert caught.value.errno == ENOSPC
    assert "no space left on device" in str(caught.value)
    assert os.stat(f"{store.layout.ingest}/{DIGEST[7:]}").st_size == 0
    monkeypatch.undo()
    store.run(lambda: bring(store.content))


def test_a_long_stream_looks_at_the_disk_again(store, monkeypatch):
    writer = store.content.ingest.stream()
    writer.write(bytes(31 << 20))
    monkeypatch.setattr(space, "room", lambda path: 0)
    writer.write(b"not yet")
    with pytest.raises(KernelError, match="no space left on device"):
        writer.write(bytes(1 << 20))
    writer.close()


def test_without_sync_no_row(store, monkeypatch):
    """An error of the disk at the sync leaves no blob that counts."""

    def broken(fd):
        raise OSError(EIO, os.strerror(EIO))

    monkeypatch.setattr(durable.os, "fsync", broken)
    with pytest.raises(KernelError, match="fsync"):
        store.run(lambda: bring(store.content))
    assert store.rows() == store.files() == set()


def test_file_then_directories_are_synced_before_the_row(store, monkeypatch):
    steps = []
    monkeypatch.setattr(durable.os, "fsync", lambda fd: steps.append(os.readlink(f"/proc/self/fd/{fd}")))
    for module in ("content", "blobs"):
        monkeypatch.setattr(
            f"onggi.store.{module}.failpoint", lambda name: steps.append((name, len(store.rows())))
        )
    store.run(lambda: bring(store.content))
    blobs = os.path.realpath(store.layout.blobs)
    assert steps == [
        f"{os.path.realpath(store.layout.ingest)}/{DIGEST[7:]}",
        ("store.blob.before_rename", 0),
        ("store.blob.after_rename", 0),
        f"{blobs}/{DIGEST[7:9]}",
        blobs,
        ("store.blob.after_row", 1),
    ]


def test_a_step_can_be_put_out_of_force(store, monkeypatch):
    synced = []
    monkeypatch.setattr(durable.os, "fsync", synced.append)
    monkeypatch.setattr(failpoints, "_name", "store.sync.file")
    monkeypatch.setattr(failpoints, "_error", "skip")
    store.run(lambda: bring(store.content))
    assert len(synced) == 2  # the directories


def test_a_file_without_row_is_put_aside_at_start(store):
    empty = sha256(b"")
    store.run(lambda: bring(store.content, b"", empty, 0))
    store.execute(
        "INSERT INTO images (id, chain_id, size, base, stored_ns) VALUES (?, NULL, 0, NULL, 0)", empty
    )
    store.run(lambda: bring(store.content))
    store.execute("DELETE FROM blobs WHERE digest = ?", DIGEST)
    open(f"{store.layout.ingest}/tmp-left", "w").close()
    store.restart()
    assert store.files() == {empty}
    assert store.partials() == os.listdir(store.layout.trash) == []


def test_a_cancelled_caller_does_not_stop_a_commit(store):
    async def scenario():
        async with store.content.lease() as lease:
            writer = lease.writer(DIGEST, len(DATA))
            writer.write(DATA)
            task = asyncio.create_task(lease.commit(writer))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await store.content.close()
            assert store.rows() == store.files() == {DIGEST}

    store.run(scenario)
