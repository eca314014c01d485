"""The pull-through cache over the real client: one download for many, tags asked again, upstream down."""

import json
import os
import threading
import time

import pytest
from fake_registry import FakeRegistry, Reply, digest_of, error
from serving_store import World, run, whole

from onggi.errors import DataLoss, InvalidArgument, OnggiError, Unavailable
from onggi.images import mirroring, registries
from onggi.images.registries import Registries, parse_url
from onggi.oci import media
from onggi.registry.cancel import Cancel
from onggi.registry.server.refusals import NoSuchPage
from onggi.registry.settings import Limits, Settings

DATA = os.urandom(3 << 20)
DIGEST = digest_of(DATA)
WEEK_NS = 7 * 24 * 3600 * 10**9


@pytest.fixture
def upstream():
    it = FakeRegistry()
    it.image = it.add_image("team/app", [DATA], "1")
    yield it
    it.close()


class Mirrored(World):
    """A store, and the mirror of one upstream in a ``with`` of its own."""

    def mirror(self, url, auth=""):
        settings = Settings(limits=Limits())
        return Registries(self.content, self.collector, self.catalog, settings).mirror(url, auth)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(registries, "_LIMITS", Limits(connect_s=30, read_s=30, attempts=1, backoff_s=0.01))
    it = Mirrored(tmp_path / "root")
    yield it
    it.close()


def test_what_was_asked_once_is_here(world, upstream):
    async def scene():
        async with world.mirror(upstream.url) as mirror:
            for _ in range(2):
                stored = await mirror.manifest("team/app", "1")
                assert (stored.digest, stored.media_type) == (upstream.image, media.OCI_MANIFEST)
                assert await mirror.manifest("team/app", upstream.image) == stored
                blob = await mirror.blob("team/app", DIGEST)
                assert await whole(blob) == DATA
                assert await whole(blob, 1 << 20, 2 << 20) == DATA[1 << 20 : 2 << 20]
            assert len(upstream.seen("GET", "manifests")) == 1
            assert len(upstream.seen("HEAD", "manifests")) == 2
            assert len(upstream.seen("GET", "blobs")) == 1
            assert await mirror.repositories() == ["team/app"]
        assert await world.serving.repositories() == []
        assert await world.serving.tags("team/app") is None

    run(scene)


def test_a_tag_that_moves_upstream_moves_here(world, upstream):
    async def scene():
        async with world.mirror(upstream.url) as mirror:
            await mirror.manifest("team/app", "1")
            second = upstream.add_image("team/app", [b"other"], "1")
            assert (await mirror.manifest("team/app", "1")).digest == second
            upstream.manifests["team/app/1"] = upstream.manifests[f"team/app/{upstream.image}"]
            assert (await mirror.manifest("team/app", "1")).digest == upstream.image
            assert len(upstream.seen("GET", "manifests")) == 2
            del upstream.manifests["team/app/1"]
            assert await mirror.manifest("team/app", "1") is None

    run(scene)


def test_a_registry_that_does_not_say_digests(world, upstream):
    def silent(call):
        return Reply(200, b"", {"Content-Type": media.OCI_MANIFEST}) if call.method == "HEAD" else None

    async def scene():
        upstream.on("HEAD", ".*manifests.*", silent)
        async with world.mirror(upstream.url) as mirror:
            assert (await mirror.manifest("team/app", "1")).digest == upstream.image

    run(scene)


def test_upstream_down_serves_what_is_here(world, upstream, monkeypatch):
    async def scene():
        async with world.mirror(upstream.url) as mirror:
            stored = await mirror.manifest("team/app", "1")
            await whole(await mirror.blob("team/app", DIGEST))
        upstream.close()
        async with world.mirror(upstream.url) as mirror:
            for _ in range(2):
                assert await mirror.manifest("team/app", "1") == stored
            assert await mirror.manifest("team/app", stored.digest) == stored
            assert await whole(await mirror.blob("team/app", DIGEST)) == DATA
            for absent in (mirror.manifest("team/app", "2"), mirror.blob("team/app", digest_of(b"x"))):
                with pytest.raises(Unavailable):
                    await absent

    run(scene)


def test_a_registry_that_limits_requests(world, upstream):
    async def scene():
        async with world.mirror(upstream.url) as mirror:
            stored = await mirror.manifest("team/app", "1")
            upstream.on("*", ".*", error(429, "TOOMANYREQUESTS", "slow down"))
            assert await mirror.manifest("team/app", "1") == stored
            before = len(upstream.calls)
            assert await mirror.manifest("team/app", "1") == stored  # in the quiet time upstream is spared
            assert len(upstream.calls) == before

    run(scene)


def test_a_network_that_answers_for_upstream(world, upstream):
    """A captive portal: a page for everything, with status 200."""

    async def scene():
        async with world.mirror(upstream.url) as mirror:
            stored = await mirror.manifest("team/app", "1")
            upstream.on("*", ".*", Reply(200, b"<html>log in</html>", {"Content-Type": "text/html"}))
            assert await mirror.manifest("team/app", "1") == stored
            with pytest.raises(OnggiError):
                await mirror.manifest("team/app", "2")

    run(scene)


@pytest.mark.parametrize(("status", "code"), [(404, "NAME_UNKNOWN"), (401, "UNAUTHORIZED"), (403, "DENIED")])
def test_what_upstream_does_not_show_is_absent(world, upstream, status, code):
    """The client must not be asked to log in here: its password would be for somebody else."""

    async def scene():
        upstream.on("*", "/v2/team/.*", error(status, code, "no"))
        async with world.mirror(upstream.url) as mirror:
            assert await mirror.manifest("team/app", "1") is None
            assert await mirror.blob("team/app", DIGEST) is None

    run(scene)


class Valve:
    """A blob that upstream sends in two parts, the second when it is opened."""

    def __init__(self, upstream, data):
        self.opened, self.asked, self.cut = threading.Event(), threading.Event(), False
        self._data = data
        upstream.on("GET", ".*blobs/" + digest_of(data), self._answer)

    def _answer(self, call):
        if "range" in call.headers:
            return None
        half = len(self._data) // 2
        call.handler.send_response(200)
        call.handler.send_header("Content-Length", str(len(self._data)))
        call.handler.end_headers()
        call.handler.wfile.write(self._data[:half])
        call.handler.wfile.flush()
        self.asked.set()
        self.opened.wait(60)
        return Reply(raw=b"" if self.cut else self._data[half:])


def test_several_readers_share_one_download_as_it_comes(world, upstream):
    async def scene():
        valve = Valve(upstream, DATA)
        async with world.mirror(upstream.url) as mirror:
            blobs = [await mirror.blob("team/app", DIGEST) for _ in range(3)]
            streams = [blob.read(0, blob.size) for blob in blobs]
            first = [await anext(stream) for stream in streams]  # before upstream has sent the rest
            assert not valve.opened.is_set()
            valve.opened.set()
            rest = [b"".join([it async for it in stream]) for stream in streams]
            assert [a + b for a, b in zip(first, rest, strict=True)] == [DATA] * 3
            assert len(upstream.seen("GET", "blobs")) == 1
            assert len(upstream.seen("HEAD", "blobs")) == 1
            assert world.blobs() == {DIGEST}

    run(scene)


def test_the_last_reader_who_leaves_ends_the_download_and_the_next_continues_it(world, upstream):
    async def scene():
        valve = Valve(upstream, DATA)
        async with world.mirror(upstream.url) as mirror:
            streams = [(await mirror.blob("team/app", DIGEST)).read(0, len(DATA)) for _ in range(2)]
            for stream in streams:
                await anext(stream)
            await streams[0].aclose()
            assert mirror._downloads
            await streams[1].aclose()
            assert not mirror._downloads
            valve.opened.set()
            assert world.blobs() == set()
            assert await whole(await mirror.blob("team/app", DIGEST)) == DATA
            assert upstream.seen("GET", "blobs")[-1].headers["range"].startswith("bytes=")

    run(scene)


def test_a_transfer_that_breaks_off_is_continued(world, upstream, monkeypatch):
    async def scene():
        valve = Valve(upstream, DATA)
        valve.cut = True
        valve.opened.set()
        async with world.mirror(upstream.url) as mirror:
            assert await whole(await mirror.blob("team/app", DIGEST)) == DATA
            assert len(upstream.seen("GET", "blobs")) == 2

    run(scene)


def test_a_blob_that_is_not_what_its_digest_says(world, upstream):
    """The last byte is never given away, so that no client holds a whole blob that is wrong."""

    async def scene():
        upstream.blobs[DIGEST] = DATA[:-1] + bytes([DATA[-1] ^ 1])
        async with world.mirror(upstream.url) as mirror:
            blob = await mirror.blob("team/app", DIGEST)
            stream, got = blob.read(0, blob.size), b""
            failure = None
            try:
                async for piece in stream:
                    got += piece
            except DataLoss as error:
                failure = error
            assert "verification failed" in str(failure)
            assert len(got) < len(DATA)
            assert world.blobs() == set()

    run(scene)


def test_a_blob_that_the_store_has_already(world, upstream):
    async def scene():
        await world.push(DATA, "elsewhere")
        async with world.mirror(upstream.url) as mirror:
            # A manifest that upstream shows us names it: no transfer.
            await mirror.manifest("team/app", "1")
            assert await whole(await mirror.blob("team/app", DIGEST)) == DATA
            # No manifest of this repository names it: upstream is asked whether it may be had.
            del upstream.blobs[DIGEST]
            assert await mirror.blob("other/app", DIGEST) is None
        assert upstream.seen("GET", "blobs") == []

    run(scene)


def test_sha512_is_not_asked_upstream(world, upstream):
    async def scene():
        async with world.mirror(upstream.url) as mirror:
            assert await mirror.blob("team/app", "sha512:" + "a" * 128) is None

    run(scene)


def test_referrers(world, upstream):
    entry = {"mediaType": media.OCI_MANIFEST, "digest": DIGEST, "size": 5, "annotations": {"k": "v"}}
    body = json.dumps(
        {"schemaVersion": 2, "manifests": [entry | {"digest": digest_of(b"x")}, entry]}
    ).encode()

    async def scene():
        async with world.mirror(upstream.url) as mirror:
            with pytest.raises(NoSuchPage):  # so that clients ask for the tag
                await mirror.referrers("team/app", DIGEST)
            upstream.on("GET", ".*/referrers/.*", Reply(200, body))
            found = await mirror.referrers("team/app", DIGEST)
            assert [it.digest for it in found] == sorted([DIGEST, digest_of(b"x")])
            assert {it.annotations["k"] for it in found} == {"v"}

    run(scene)


def test_referrers_that_are_here(world, upstream):
    subject = {"mediaType": media.OCI_MANIFEST, "digest": upstream.image, "size": 9}
    config = {"mediaType": media.OCI_EMPTY, "digest": upstream.add_blob(b"{}"), "size": 2}
    document = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": config,
        "layers": [],
        "subject": subject,
    }
    upstream.add_manifest("team/app", document, "signature")

    async def scene():
        async with world.mirror(upstream.url) as mirror:
            stored = await mirror.manifest("team/app", "signature")
        upstream.close()
        async with world.mirror(upstream.url) as mirror:
            assert [it.digest for it in await mirror.referrers("team/app", upstream.image)] == [stored.digest]
            with pytest.raises(Unavailable):
                await mirror.referrers("team/app", DIGEST)

    run(scene)


def test_what_nobody_asks_for_goes_after_a_week(world, upstream):
    async def scene():
        async with world.mirror(upstream.url) as mirror:
            await mirror.manifest("team/app", "1")
            await whole(await mirror.blob("team/app", DIGEST))
            world.execute("UPDATE registry_manifests SET used_ns = ?", time.time_ns() - WEEK_NS + 10**11)
            world.execute("UPDATE registry_blobs SET linked_ns = 0")
            await world.collector.run()
            assert world.blobs() == {DIGEST, upstream.image}
            await mirror.manifest("team/app", upstream.image)  # it is used again
            assert world.execute("SELECT used_ns FROM registry_manifests")[0][0] > time.time_ns() - 10**12
            world.execute("UPDATE registry_manifests SET used_ns = ?", time.time_ns() - WEEK_NS)
            await world.collector.run()
            assert world.blobs() == set()
            assert await mirror.repositories() == []

    run(scene)


def test_hub_images_have_their_namespace(world, upstream, monkeypatch):
    asked = []

    class Recorded:
        cancel = Cancel()

        def __init__(self, path):
            asked.append(path)

        def current(self, tag):
            raise Unavailable("down")

        has_blob = current

    async def scene():
        mirror = mirroring.Mirror(world.content, world.serving, "docker.io", Recorded)
        for name in ("debian", "team/app"):
            with pytest.raises(OnggiError):
                await mirror.manifest(name, "1")
        await mirror.close()
        assert asked == ["library/debian", "team/app"]

    run(scene)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://docker.io", ("docker.io", False)), ("https://registry-1.docker.io/", ("docker.io", False)),
        ("http://127.0.0.1:5001", ("127.0.0.1:5001", True)), ("https://ghcr.io", ("ghcr.io", False)),
    ],
)  # fmt: skip
def test_addresses_of_mirrors(url, found):
    assert parse_url(url) == found


@pytest.mark.parametrize(
    "url",
    [
        "docker.io",
        "ftp://x",
        "https://",
        "https://x/path",
        "https://a:b@x",
        "https://x?y",
        "https://x#y",
        "https://[x",
    ],
)
def test_addresses_that_are_refused(url):
    with pytest.raises(InvalidArgument):
        parse_url(url)
