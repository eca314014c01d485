"""The registry's storage over a real store: what is kept, for how long, and the images it serves by name."""

import json
import os

import pytest
from serving_store import LAYER, World, pieces, run, whole

from onggi.oci import media
from onggi.registry.server import documents
from onggi.registry.server.names import digest_of
from onggi.registry.server.refusals import Denied
from onggi.registry.server.storage import WrongDigest

DATA = os.urandom(3 << 20)
DIGEST, LONG = digest_of(DATA), digest_of(DATA, "sha512")
DAY_NS = 24 * 3600 * 10**9


@pytest.fixture
def world(tmp_path):
    it = World(tmp_path / "root")
    yield it
    it.close()


def manifest(config, *layers, **more):
    document = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": {"mediaType": media.OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": media.OCI_LAYER_GZIP, "digest": it, "size": 1} for it in layers],
        **more,
    }
    return documents.parse(json.dumps(document).encode(), media.OCI_MANIFEST)


@pytest.mark.parametrize("digest", [DIGEST, LONG], ids=["sha256", "sha512"])
def test_upload_and_read(world, digest):
    async def scene():
        await world.push(DATA, digest=digest)
        blob = await world.serving.blob("a", digest)
        assert await whole(blob) == DATA
        assert await whole(blob, 1_000_000, 2_500_000) == DATA[1_000_000:2_500_000]
        assert await whole(blob, 5, 5) == b""
        assert await world.serving.blob("b", digest) is None
        assert world.blobs() == {DIGEST}

    run(scene)


@pytest.mark.parametrize(
    "digest", [digest_of(b"other"), digest_of(b"other", "sha512")], ids=["sha256", "sha512"]
)
def test_wrong_digest(world, digest):
    async def scene():
        upload = await world.serving.upload("a")
        await upload.append(pieces(DATA))
        with pytest.raises(WrongDigest):
            await upload.finish(digest)
        await upload.cancel()
        assert await world.serving.blob("a", digest) is None
        assert await world.serving.blob("a", DIGEST) is None
        await world.collector.run()
        assert world.blobs() == set()
        assert os.listdir(world.content.ingest._directory) == []

    run(scene)


def test_a_source_that_breaks_off(world):
    async def broken():
        yield DATA[:1000]
        raise ConnectionError

    async def scene():
        upload = await world.serving.upload("a")
        with pytest.raises(ConnectionError):
            await upload.append(broken())
        assert upload.offset == 1000
        await upload.append(pieces(DATA[1000:]))
        await upload.finish(DIGEST)
        assert await whole(await world.serving.blob("a", DIGEST)) == DATA

    run(scene)


def test_cancelled_upload_leaves_nothing(world):
    async def scene():
        upload = await world.serving.upload("a")
        await upload.append(pieces(DATA))
        await upload.cancel(), await upload.cancel()
        assert os.listdir(world.content.ingest._directory) == []

    run(scene)


def test_blobs_wait_a_day_for_their_manifest(world):
    async def scene():
        await world.push(DATA), await world.push(b"{}"), await world.push(b"unneeded")
        document = manifest(b"{}", DIGEST)
        assert await world.serving.keep("a", document, ["1"]) == []
        await world.collector.run()
        assert world.blobs() == {DIGEST, digest_of(b"{}"), digest_of(b"unneeded"), document.digest}
        world.execute("UPDATE registry_blobs SET linked_ns = linked_ns - ?", DAY_NS)
        await world.collector.run()
        assert world.blobs() == {DIGEST, digest_of(b"{}"), document.digest}
        assert await world.serving.blob("a", digest_of(b"unneeded")) is None
        assert await world.serving.remove("a", document.digest)
        assert world.blobs() == set()
        assert await world.serving.tags("a") is None

    run(scene)


def test_a_blob_that_two_repositories_have(world):
    async def scene():
        await world.push(DATA)
        assert await world.serving.mount("b", DIGEST, "a")
        assert await world.serving.mount("c", DIGEST, "")
        assert not await world.serving.mount("d", DIGEST, "x")
        assert await world.serving.unlink("a", DIGEST)
        assert not await world.serving.unlink("a", DIGEST)
        await world.collector.run()
        assert await whole(await world.serving.blob("b", DIGEST)) == DATA

    run(scene)


def test_a_blob_is_read_to_its_end_though_it_is_removed(world):
    async def scene():
        await world.push(DATA)
        stream = (await world.serving.blob("a", DIGEST)).read(0, len(DATA))
        data = await anext(stream)
        await world.serving.unlink("a", DIGEST)
        await world.collector.run()
        assert world.blobs() == set()
        assert data + b"".join([it async for it in stream]) == DATA

    run(scene)


def test_documents_tags_and_referrers(world):
    async def scene():
        await world.push(b"{}")
        one, two = (
            manifest(b"{}"),
            manifest(b"{}", annotations={"a": "b"}, subject={"digest": DIGEST, "size": 1}),
        )
        assert await world.serving.keep("a", one, ["x", "y"]) == []
        assert await world.serving.keep("a", two, ["y"]) == []
        assert (await world.serving.manifest("a", "x")).data == one.data
        assert await world.serving.manifest("a", "y") == (two.digest, media.OCI_MANIFEST, two.data)
        assert await world.serving.manifest("a", one.digest) is not None
        assert await world.serving.manifest("b", one.digest) is None
        assert await world.serving.tags("a") == ["x", "y"]
        assert await world.serving.referrers("a", DIGEST) == [two.referrer()]
        assert await world.serving.referrers("a", "") == []
        assert await world.serving.untag("a", "x")
        assert not await world.serving.untag("a", "x")
        assert await world.serving.manifest("a", one.digest) is not None
        assert await world.serving.remove("a", two.digest)
        assert await world.serving.manifest("a", "y") is None
        assert await world.serving.referrers("a", DIGEST) == []
        assert await world.serving.repositories() == ["a"]

    run(scene)


def test_what_is_missing_is_named_and_nothing_kept(world):
    async def scene():
        document = manifest(b"{}", DIGEST)
        assert await world.serving.keep("a", document, ["x"]) == [digest_of(b"{}"), DIGEST]
        assert await world.serving.tags("a") is None
        await world.collector.run()
        assert world.blobs() == set()

    run(scene)


def test_images_are_served_by_name(world):
    async def scene():
        image_id, layer = await world.image()
        await world.image("ghcr.io/owner/app:2")
        await world.image("localhost:5000/pushed:1")
        for repository in ("demo", "library/demo", "docker.io/library/demo"):
            stored = await world.serving.manifest(repository, "1")
            found = json.loads(stored.data)
            assert (found["config"]["digest"], found["layers"][0]["digest"]) == (image_id, layer)
            assert await world.serving.manifest(repository, stored.digest) == stored
            assert (
                await whole(await world.serving.blob(repository, layer))
                == LAYER + b"docker.io/library/demo:1"
            )
            assert await world.serving.tags(repository) == ["1"]
        assert await world.serving.manifest("demo", "2") is None
        assert await world.serving.manifest("demo", image_id) is None
        assert await world.serving.blob("ghcr.io/owner/app", layer) is None
        assert await world.serving.repositories() == ["demo", "ghcr.io/owner/app"]

    run(scene)


def test_images_cannot_be_deleted_through_the_registry(world):
    async def scene():
        image_id, layer = await world.image()
        stored = await world.serving.manifest("demo", "1")
        for delete in (
            world.serving.unlink("demo", layer), world.serving.unlink("demo", image_id),
            world.serving.untag("demo", "1"), world.serving.remove("demo", stored.digest),
        ):  # fmt: skip
            with pytest.raises(Denied, match="image of the engine"):
                await delete
        assert await world.serving.manifest("demo", "1") == stored

    run(scene)


def test_a_view_of_the_machine_is_not_served(world):
    async def scene():
        image_id, layer = await world.image(base="host")
        assert await world.serving.manifest("demo", "1") is None
        assert await world.serving.blob("demo", layer) is None
        assert await world.serving.blob("demo", image_id) is None
        assert await world.serving.tags("demo") is None
        assert await world.serving.repositories() == []

    run(scene)


def test_a_push_onto_an_images_name(world):
    """Its layers need not be pushed again, and outlive the image; what was pushed comes first."""

    async def scene():
        _, layer = await world.image()
        await world.push(b"{}", "demo")
        document = manifest(b"{}", layer)
        assert await world.serving.keep("demo", document, ["1"]) == []
        assert (await world.serving.manifest("demo", "1")).digest == document.digest
        world.execute("DELETE FROM tags"), world.execute("DELETE FROM images")
        world.execute("UPDATE registry_blobs SET linked_ns = 0")
        await world.collector.run()
        assert await whole(await world.serving.blob("demo", layer)) == LAYER + b"docker.io/library/demo:1"

    run(scene)


def test_what_was_pushed_outlives_the_process(world, tmp_path):
    async def push():
        await world.push(b"{}"), await world.push(DATA, digest=LONG)
        await world.serving.keep("a", manifest(b"{}", LONG), ["x"])

    run(push)
    world.close()
    world.__init__(tmp_path / "root")

    async def scene():
        assert await world.serving.tags("a") == ["x"]
        assert await whole(await world.serving.blob("a", LONG)) == DATA

    run(scene)


def test_what_a_repair_dropped_can_be_pushed_again(world):
    async def push():
        await world.push(b"{}"), await world.push(DATA, digest=LONG)
        return await world.serving.keep("a", manifest(b"{}", LONG), ["x"])

    async def scene():
        await push()
        document = (await world.serving.manifest("a", "x")).digest
        for digest in (DIGEST, document):
            world.execute("DELETE FROM blobs WHERE digest = ?", digest)
            os.unlink(world.content.path(digest))
        assert await world.serving.blob("a", LONG) is None
        assert await world.serving.manifest("a", "x") is None
        assert await world.serving.keep("a", manifest(b"{}", LONG), ["x"]) == [LONG]
        assert await push() == []
        assert await whole(await world.serving.blob("a", LONG)) == DATA

    run(scene)
