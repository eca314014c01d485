"""fsck finds each kind of damage, says what it is, and mends it; work in progress is no damage."""

import os

import pytest

from onggi.oci.digest import chain_ids, sha256
from onggi.store.fsck import Check, Store

DIFF_IDS = [sha256(b"one"), sha256(b"two")]
CHAIN = chain_ids(DIFF_IDS)


class Sound:
    """A store with an image of two layers, whose archives are kept, and a container."""

    def __init__(self, store):
        self.store = store
        names = ("config", "manifest", "archive one", "archive two")
        self.config, self.manifest, *self.archives = (self.put(name) for name in names)
        for index, chain_id in enumerate(CHAIN):
            row = (chain_id, CHAIN[0] if index else None, DIFF_IDS[index], index + 1)
            self.row("layers", *row, 0, 0, None)
            self.row("snapshots", index + 1, "layer", chain_id, b"")
            self.row("layer_blobs", self.archives[index], f"archive of {index}", "tar")
            os.makedirs(f"{store.layout.snapshot(index + 1)}/fs")
        self.row("images", self.config, CHAIN[1], 0, None, 0, 0, None)
        self.row("tags", "docker.io/library/it:latest", self.config, 0)
        self.row("manifests", self.manifest, "m", self.config)
        self.row("sources", "docker.io/library/it", self.manifest, self.config)
        store.execute("CREATE TABLE containers (id TEXT)")

    def put(self, text):
        async def scenario():
            async with self.store.content.lease() as lease:
                return await lease.put(text.encode())

        return self.store.run(scenario)

    def row(self, table, *values):
        self.store.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", *values)

    def snapshot(self, number, kind, key):
        self.row("snapshots", number, kind, key, b"{}")
        os.makedirs(f"{self.store.layout.snapshot(number)}/fs")

    def check(self, repair=False):
        """(object, problem, repaired) of every finding."""

        async def scenario():
            check = Check(parts(self.store), repair=repair)
            found = [(it.object, it.problem, repaired) async for it, repaired in check.run()]
            assert check.counts["Findings"] == len(found)
            assert check.counts["Repaired"] == sum(repaired for *_, repaired in found)
            return found

        return self.store.run(scenario)


async def unable(chain_id):
    return False


async def same(chain_id, number):
    return ""


def parts(store, restore=unable):
    return Store(store.layout, store.content, store.snapshots, store.collector, restore, same, is_used=unable)


@pytest.fixture
def sound(store):
    return Sound(store)


def path(sound, digest):
    return sound.store.content.path(digest)


def overwrite(sound, digest, data):
    os.chmod(path(sound, digest), 0o600)
    with open(path(sound, digest), "wb") as file:
        file.write(data)


def touch(name):
    os.makedirs(os.path.dirname(name), exist_ok=True)
    open(name, "w").close()


IMAGE, NOBODYS = "image it:latest", sha256(b"nobody's")
DAMAGE = {
    "a damaged archive": (
        lambda it: overwrite(it, it.archives[0], b"archive 0ne"),
        [("blob {archives[0]}", "its bytes have the digest " + sha256(b"archive 0ne"))],
    ),
    "a short archive": (
        lambda it: overwrite(it, it.archives[0], b"arch"),
        [("blob {archives[0]}", "its file has 4 bytes instead of 11")],
    ),
    "a lost config": (
        lambda it: os.unlink(path(it, it.config)),
        [("blob {config}", "its file is missing"), (IMAGE, "its configuration is missing")],
    ),
    "a lost manifest": (
        lambda it: os.unlink(path(it, it.manifest)),
        [
            ("blob {manifest}", "its file is missing"),
            ("manifest {manifest}", "its document is missing"),
            ("source {manifest}", "its document is missing"),
        ],
    ),
    "a file without row": (
        lambda it: touch(path(it, sha256(b"nobody's"))),
        [
            (
                "file {root}/blobs/sha256/" + sha256(b"nobody's")[7:9] + "/" + sha256(b"nobody's")[7:],
                "no row names it",
            )
        ],
    ),
    "a lost layer": (
        lambda it: os.rename(it.store.layout.snapshot(2), it.store.layout.snapshot(2) + "-gone"),
        [
            ("layer " + CHAIN[1], "its directory is missing"),
            ("directory {root}/snapshots/overlay/2-gone", "no row names it"),
            (IMAGE, f"its layer {CHAIN[1]} is missing"),
        ],
    ),
    "a lost base": (
        lambda it: os.rename(f"{it.store.layout.snapshot(1)}", f"{it.store.layout.root}/elsewhere"),
        [
            ("layer " + CHAIN[0], "its directory is missing"),
            ("layer " + CHAIN[1], f"the layer below it, {CHAIN[0]}, is missing"),
            (IMAGE, f"its layer {CHAIN[0]} is missing"),
        ],
    ),
    "a layer without snapshot": (
        lambda it: it.store.execute("UPDATE snapshots SET number = 7 WHERE number = 2"),
        [
            ("layer " + CHAIN[1], "its directory is missing"),
            ("directory {root}/snapshots/overlay/2", "no row names it"),
            (IMAGE, f"its layer {CHAIN[1]} is missing"),
        ],
    ),
    "a snapshot without layer": (
        lambda it: (
            it.row("snapshots", 9, "layer", "nobody", b""),
            os.makedirs(it.store.layout.snapshot(9) + "/fs"),
        ),
        [("snapshot 9", "no layer nobody is there")],
    ),
    "a directory without row": (
        lambda it: os.makedirs(it.store.layout.snapshot(88)),
        [("directory {root}/snapshots/overlay/88", "no row names it")],
    ),
    "a tag of nothing": (
        lambda it: it.row("tags", "docker.io/library/other:latest", "gone", 0),
        [("tag docker.io/library/other:latest", "no image gone is here")],
    ),
    "a lost archive": (
        lambda it: it.store.execute("DELETE FROM blobs WHERE digest = ?", it.archives[1]),
        [
            ("file {root}/blobs/sha256/{path}", "no row names it"),
            ("layer archive {archives[1]}", "it is missing"),
        ],
    ),
    "a container's snapshot": (
        lambda it: it.snapshot(5, "container", "gone"),
        [("snapshot 5", "no container gone is here")],
    ),
    "an expired lease": (lambda it: it.row("leases", "old", 1), [("lease old", "it has expired")]),
    "a forgotten download": (
        lambda it: touch(f"{it.store.layout.ingest}/{'ab' * 32}"),
        [("file {root}/ingest/" + "ab" * 32, "nobody continues this download")],
    ),
    "something left in the trash": (
        lambda it: touch(f"{it.store.layout.trash}/x/y"),
        [("file {root}/trash/x", "its deletion was not finished")],
    ),
}


def test_a_sound_store_is_sound(sound):
    assert sound.check() == []
    assert sound.check(repair=True) == []


@pytest.mark.parametrize("name", DAMAGE)
def test_each_damage_is_found_and_mended(sound, name):
    damage, expected = DAMAGE[name]
    damage(sound)
    archive = sound.archives[1]
    texts = {"root": sound.store.layout.root, "archives": sound.archives, "config": sound.config}
    texts |= {"manifest": sound.manifest, "path": f"{archive[7:9]}/{archive[7:]}"}
    wanted = {(it.format(**texts), why) for it, why in expected}
    assert {(it, why) for it, why, _ in sound.check()} == wanted
    assert {(it, why) for it, why, _ in sound.check()} == wanted  # looking changes nothing
    found = sound.check(repair=True)
    assert {(it, why) for it, why, _ in found} >= wanted - {("layer archive", "")}
    assert all(repaired for *_, repaired in found)
    sound.store.trash.close()
    assert sound.check() == []


def test_a_container_without_root_is_for_people(sound):
    sound.row("snapshots", 5, "container", "c" * 64, b"{}")
    sound.row("containers", "c" * 64)
    finding = ("container cccccccccccc", "its root file system is missing: remove it", False)
    assert sound.check() == sound.check(repair=True) == [finding]


def test_a_damaged_database_is_told(sound, monkeypatch):
    from onggi.store import findings

    original = findings._Rows.all
    monkeypatch.setattr(
        findings._Rows,
        "all",
        lambda self, query: (
            [("row 3 missing from index",)] if "integrity" in query else original(self, query)
        ),
    )
    assert sound.check(repair=True) == [("the database", "row 3 missing from index", False)]


def test_work_in_progress_is_no_damage(sound):
    store = sound.store

    async def scenario():
        store.snapshots.recover()
        number = store.snapshots.begin_layer()
        os.makedirs(store.layout.snapshot(number) + "/fs")
        async with store.content.lease(ttl_s=0) as lease:
            partial, stream = lease.writer(sha256(b"more"), 100), lease.stream()
            digest = sha256(b"about to have a row")
            await lease.have_blob(digest)
            touch(store.content.path(digest))
            found = [it async for it in Check(parts(store), repair=True).run()]
            assert os.path.exists(store.content.path(digest))
            partial.close()
            stream.close()
        await store.snapshots.end_layer(number)
        return found

    assert store.run(scenario) == []
