"""The registry's protocol: every operation, every refusal, over a storage in memory."""

import asyncio
import json
import re

import pytest
from memory_registry import MemoryStorage

from onggi.oci import media
from onggi.registry.server.call import Call
from onggi.registry.server.names import digest_of
from onggi.registry.server.service import Registry
from onggi.registry.server.uploads import IDLE_S, MAX_SESSIONS

DATA = bytes(range(256)) * 4
DIGEST = digest_of(DATA)
LONG = digest_of(DATA, "sha512")
EMPTY = digest_of(b"{}")
ABSENT = digest_of(b"absent")


class World:
    """A registry, and calls to it without ceremony."""

    def __init__(self, **options):
        self.storage, self.now = MemoryStorage(), 0.0
        writing = None if "read_only" in options else self.storage
        self.registry = Registry(self.storage, writing, clock=lambda: self.now, **options)

    def call(self, method, path, body=b"", query=None, **headers):
        """(status, headers, body) of one call; headers are spelled with underscores."""
        return asyncio.run(self.acall(method, path, body, query, **headers))

    async def acall(self, method, path, body=b"", query=None, **headers):
        async def pieces():
            for start in range(0, len(body), 100):
                yield body[start : start + 100]

        asked = {name: value if isinstance(value, list) else [value] for name, value in (query or {}).items()}
        found = {name.replace("_", "-"): value for name, value in headers.items()}
        size = int(found.pop("content-length", len(body))) if found.get("content-length") != "" else None
        found.pop("content-length", None)
        answer = await self.registry.answer(Call(method, path, asked, found, pieces(), size))
        whole = answer.body
        if not isinstance(whole, bytes):
            whole = b"".join([piece async for piece in answer.body])
            assert answer.size == len(whole)
        return answer.status, dict(answer.headers) | {"Content-Type": answer.content_type}, whole

    def code(self, *arguments, **headers):
        """(status, first error code) of a call that is refused."""
        status, _, body = self.call(*arguments, **headers)
        return status, json.loads(body)["errors"][0]["code"]

    def push(self, data, repository="a"):
        digest = digest_of(data)
        assert self.call("POST", f"/v2/{repository}/blobs/uploads/", data, {"digest": digest})[0] == 201
        return digest

    def begin(self, repository="a"):
        status, headers, _ = self.call("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202
        return headers["Location"]

    def put(self, reference, document, repository="a", kind=media.OCI_MANIFEST, **query):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.call(
            "PUT", f"/v2/{repository}/manifests/{reference}", data, query, **{"content-type": kind}
        )


@pytest.fixture
def world():
    return World()


def descriptor(data, media_type="application/octet-stream", **more):
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def manifest(*layers, config=b"{}", **more):
    return {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": descriptor(config, media.OCI_EMPTY),
        "layers": [descriptor(layer) for layer in layers],
        **more,
    }


def index(*manifests, **more):
    entries = [descriptor(data, media.OCI_MANIFEST) for data in manifests]
    return {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries, **more}


def test_root(world):
    assert world.call("GET", "/v2/") == (200, {"Content-Type": "application/json"}, b"{}")
    assert world.call("HEAD", "/v2")[0] == 200


# blobs


def test_blob_in_one_request(world):
    status, headers, _ = world.call("POST", "/v2/a/b/blobs/uploads/", DATA, {"digest": DIGEST})
    assert (status, headers["Location"]) == (201, f"/v2/a/b/blobs/{DIGEST}")
    status, headers, body = world.call("GET", headers["Location"])
    assert (status, body) == (200, DATA)
    assert headers["Docker-Content-Digest"] == DIGEST
    assert headers["Content-Type"] == "application/octet-stream"
    assert world.call("HEAD", f"/v2/a/b/blobs/{DIGEST}")[0] == 200
    assert world.code("GET", f"/v2/other/blobs/{DIGEST}") == (404, "BLOB_UNKNOWN")


def test_blob_by_post_and_put(world):
    location = world.begin()
    assert re.fullmatch(r"/v2/a/blobs/uploads/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", location)
    assert world.call("PUT", location, DATA, {"digest": LONG})[0] == 201
    assert world.call("GET", f"/v2/a/blobs/{LONG}")[2] == DATA
    assert world.code("PUT", location, b"", {"digest": LONG}) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_blob_in_chunks(world):
    location = world.begin()
    assert world.call("GET", location)[:2][1]["Range"] == "0-0"
    for start, end in ((0, 300), (300, 700)):
        status, headers, _ = world.call(
            "PATCH", location, DATA[start:end], **{"content-range": f"{start}-{end - 1}"}
        )
        assert (status, headers["Range"], headers["Location"]) == (202, f"0-{end - 1}", location)
    assert world.call("GET", location)[0] == 204
    status, _, _ = world.call(
        "PUT", location, DATA[700:], {"digest": DIGEST}, **{"content-range": "700-1023"}
    )
    assert status == 201
    assert world.storage.blobs["a", DIGEST] == DATA


def test_blob_as_a_stream_of_unknown_length(world):
    location = world.begin()
    assert world.call("PATCH", location, DATA, **{"content-length": ""})[0] == 202
    assert world.call("PUT", location, b"", {"digest": DIGEST})[0] == 201


def test_chunks_out_of_order(world):
    location = world.begin()
    world.call("PATCH", location, DATA[:100])
    for method in ("PATCH", "PUT"):
        status, headers, body = world.call(
            method, location, DATA[200:300], {"digest": DIGEST}, **{"content-range": "200-299"}
        )
        assert (status, headers["Range"], headers["Location"]) == (416, "0-99", location)
        assert json.loads(body)["errors"][0]["detail"] == {"offset": 100}
    assert world.call("PUT", location, DATA[100:], {"digest": DIGEST})[0] == 201


@pytest.mark.parametrize("header", ["bytes 0-9", "0-", "-9", "a-b", "9-0", "0-10", "0-99999999999999999999"])
def test_malformed_content_range(world, header):
    location = world.begin()
    answer = world.code("PATCH", location, DATA[:10], **{"content-range": header})
    assert answer == (400, "BLOB_UPLOAD_INVALID")
    assert world.storage.uploads[0].offset == 0


def test_length_that_is_not_kept(world):
    answer = world.code("PATCH", world.begin(), DATA, **{"content-length": "9"})
    assert answer == (400, "SIZE_INVALID")


def test_wrong_digest_ends_the_upload(world):
    location = world.begin()
    assert world.code("PUT", location, DATA, {"digest": ABSENT}) == (400, "DIGEST_INVALID")
    assert world.code("GET", location) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert world.code("POST", "/v2/a/blobs/uploads/", DATA, {"digest": ABSENT}) == (400, "DIGEST_INVALID")
    assert world.storage.blobs == {}
    assert world.storage.uploads[1].cancelled


HOSTILE_DIGESTS = [
    "", "sha256:", "sha256:baddigeststring", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 32,
    "sha256:../../../../etc/passwd", "sha256:" + "a" * 64 + "/..", "sha256:" + "a" * 64 + "\n", "../x", ".",
    "sha512:" + "a" * 64, "sha256:" + "a" * 63 + "\0", "sha256:" + "\u0661" * 64, "x" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("digest", HOSTILE_DIGESTS, ids=range(len(HOSTILE_DIGESTS)))
def test_malformed_digests(world, digest):
    location = world.begin()
    assert world.code("PUT", location, DATA, {"digest": digest}) == (400, "DIGEST_INVALID")
    assert world.storage.uploads[0].offset == 0
    if digest:
        assert world.code("POST", "/v2/a/blobs/uploads/", DATA, {"digest": digest}) == (400, "DIGEST_INVALID")
        assert world.code("POST", "/v2/a/blobs/uploads/", b"", {"mount": digest}) == (400, "DIGEST_INVALID")
    if digest and "/" not in digest:
        for method in ("GET", "DELETE"):
            assert world.code(method, f"/v2/a/blobs/{digest}") == (400, "DIGEST_INVALID")
        assert world.code("GET", f"/v2/a/referrers/{digest}") == (400, "DIGEST_INVALID")


HOSTILE_NAMES = [
    "A", "a//b", "../a", "a/../b", "a/.", "-a", "a-", "a__b_", "a___b", "a b", "a\n", "\u00e9", "a" * 256,
    "a/" * 120 + "b%", "/etc/passwd", "a\0",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_malformed_names(world, name):
    for method, rest in (
        ("GET", f"blobs/{DIGEST}"), ("GET", "manifests/x"), ("PUT", "manifests/x"), ("GET", "tags/list"),
        ("GET", f"referrers/{DIGEST}"), ("POST", "blobs/uploads/"), ("PATCH", "blobs/uploads/x"),
    ):  # fmt: skip
        assert world.code(method, f"/v2/{name}/{rest}") == (400, "NAME_INVALID")
    answer = world.code("POST", "/v2/a/blobs/uploads/", b"", {"mount": DIGEST, "from": name})
    assert answer == (400, "NAME_INVALID")


def test_names_that_look_like_operations(world):
    world.push(DATA, "blobs/uploads")
    assert world.call("GET", f"/v2/blobs/uploads/blobs/{DIGEST}")[0] == 200
    assert world.call("GET", "/v2/blobs/uploads/tags/list")[0] == 200
    assert world.code("GET", "/v2/a/blobs/uploads/x") == (404, "BLOB_UPLOAD_UNKNOWN")


def test_session_of_another_repository(world):
    location = world.begin().replace("/a/", "/b/")
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert world.code(method, location, b"", {"digest": DIGEST}) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_cancel(world):
    location = world.begin()
    assert world.call("DELETE", location)[0] == 204
    assert world.storage.uploads[0].cancelled
    assert world.code("DELETE", location) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_sessions_expire_and_are_counted(world):
    first = world.begin()
    for _ in range(MAX_SESSIONS - 1):
        world.begin()
    status, headers, _ = world.call("POST", "/v2/a/blobs/uploads/")
    assert (status, headers["Retry-After"]) == (429, "30")
    world.now += IDLE_S / 2
    world.call("PATCH", first, DATA)
    world.now += IDLE_S / 2 + 1
    world.begin()
    assert world.call("GET", first)[0] == 204
    assert sum(it.cancelled for it in world.storage.uploads) == MAX_SESSIONS - 1


def test_closing_cancels_uploads(world):
    world.begin()
    asyncio.run(world.registry.close())
    assert world.storage.uploads[0].cancelled


def test_one_session_serves_one_request_at_a_time(world):
    location = world.begin()

    async def scene():
        chunks = [world.acall("PATCH", location, DATA[:512]), world.acall("PATCH", location, DATA[512:])]
        await asyncio.gather(*chunks)

    asyncio.run(scene())
    assert bytes(world.storage.uploads[0].data) == DATA


def test_mount(world):
    world.push(DATA, "b")
    status, headers, _ = world.call("POST", "/v2/a/blobs/uploads/", query={"mount": DIGEST, "from": "b"})
    assert (status, headers["Location"]) == (201, f"/v2/a/blobs/{DIGEST}")
    assert world.call("POST", "/v2/c/blobs/uploads/", query={"mount": DIGEST})[0] == 201
    assert world.call("POST", "/v2/d/blobs/uploads/", query={"mount": ABSENT, "from": "b"})[0] == 202
    assert world.call("POST", "/v2/d/blobs/uploads/", query={"mount": DIGEST, "from": "x"})[0] == 202


def test_unknown_algorithm_of_a_session(world):
    for algorithm, status in (("sha512", 202), ("blake3", 400)):
        asked = {"digest-algorithm": algorithm}
        assert world.call("POST", "/v2/a/blobs/uploads/", query=asked)[0] == status


def test_blob_delete(world):
    world.push(DATA)
    assert world.call("DELETE", f"/v2/a/blobs/{DIGEST}")[0] == 202
    assert world.code("DELETE", f"/v2/a/blobs/{DIGEST}") == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1), ("bytes=500-", 500, 1024), ("bytes=-24", 1000, 1024), ("bytes=-5000", 0, 1024),
        ("bytes=1000-9999", 1000, 1024), ("Bytes=0-1023", 0, 1024), ("bytes= 5 - 6 ", 5, 7),
    ],
)  # fmt: skip
def test_ranges(world, header, start, end):
    world.push(DATA)
    status, headers, body = world.call("GET", f"/v2/a/blobs/{DIGEST}", range=header)
    assert (status, body) == (206, DATA[start:end])
    assert headers["Content-Range"] == f"bytes {start}-{end - 1}/1024"


@pytest.mark.parametrize("header", ["bytes=1024-", "bytes=5-4", "bytes=-0", "bytes=-", "bytes=a-b"])
def test_ranges_outside(world, header):
    world.push(DATA)
    status, headers, _ = world.call("GET", f"/v2/a/blobs/{DIGEST}", range=header)
    assert (status, headers["Content-Range"]) == (416, "bytes */1024")


@pytest.mark.parametrize(
    "headers", [{"range": "bytes=0-1,4-5"}, {"range": "lines=0-1"}, {"range": "bytes=0-1", "if-range": '"x"'}]
)
def test_ranges_that_are_answered_with_the_whole(world, headers):
    world.push(DATA)
    assert world.call("GET", f"/v2/a/blobs/{DIGEST}", **headers)[::2] == (200, DATA)


def test_unchanged_content_is_not_sent_again(world):
    world.push(DATA)
    status, _, body = world.call("GET", f"/v2/a/blobs/{DIGEST}", **{"if-none-match": f'"{DIGEST}"'})
    assert (status, body) == (304, b"")


# manifests


def test_manifest_by_tag_and_digest(world):
    world.push(b"{}"), world.push(DATA)
    data = json.dumps(manifest(DATA, annotations={"a": "b"}, unknown=[1])).encode()
    status, headers, _ = world.put("1.0", data)
    assert status == 201
    assert headers["Location"] == f"/v2/a/manifests/{digest_of(data)}"
    for reference in ("1.0", digest_of(data)):
        status, headers, body = world.call("GET", f"/v2/a/manifests/{reference}")
        assert (status, body, headers["Content-Type"]) == (200, data, media.OCI_MANIFEST)
        assert headers["Docker-Content-Digest"] == digest_of(data)
    assert world.call("HEAD", "/v2/a/manifests/1.0", **{"if-none-match": f'"{digest_of(data)}"'})[0] == 304


def test_manifest_by_digest_with_tags(world):
    world.push(b"{}")
    data = json.dumps(manifest()).encode()
    status, headers, _ = world.put(digest_of(data, "sha512"), data, tag=["x", "y"])
    assert (status, headers["OCI-Tag"]) == (201, "x, y")
    assert json.loads(world.call("GET", "/v2/a/tags/list")[2]) == {"name": "a", "tags": ["x", "y"]}
    assert world.put(digest_of(data), data, tag=["../x"])[0] == 400
    assert world.put(digest_of(data), data, tag=["x"] * 101)[0] == 400


def test_index_and_what_it_needs(world):
    world.push(b"{}")
    child = json.dumps(manifest()).encode()
    data = json.dumps(index(child)).encode()
    status, _, body = world.put("i", data, kind=media.OCI_INDEX)
    assert (status, json.loads(body)["errors"][0]["code"]) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert json.loads(body)["errors"][0]["detail"] == {"digest": digest_of(child)}
    world.put(digest_of(child), child)
    assert world.put("i", data, kind=media.OCI_INDEX)[0] == 201
    assert world.put("e", index(), kind=media.OCI_INDEX)[0] == 201


def test_every_missing_blob_is_named(world):
    _, _, body = world.put("x", manifest(DATA))
    found = [(it["code"], it["detail"]["digest"]) for it in json.loads(body)["errors"]]
    assert found == [("MANIFEST_BLOB_UNKNOWN", EMPTY), ("MANIFEST_BLOB_UNKNOWN", DIGEST)]
    assert world.storage.documents == {}


def test_foreign_layers_need_not_be_here(world):
    world.push(b"{}")
    layers = [
        descriptor(DATA, urls=["https://example.com/x"]),
        descriptor(b"x", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
    ]
    assert world.put("x", manifest() | {"layers": layers})[0] == 201


def test_manifest_digest_must_match(world):
    world.push(b"{}")
    status, _, body = world.put(ABSENT, manifest())
    assert (status, json.loads(body)["errors"][0]["code"]) == (400, "DIGEST_INVALID")


CONFIG, LAYERS = manifest()["config"], manifest()["layers"]
INVALID = {
    "no JSON": b"\xff\xfe",
    "nested deeply": b"[" * 100_000,
    "no object": b"[]",
    "schema 1": {"schemaVersion": 1, "fsLayers": []},
    "no version": {"mediaType": media.OCI_MANIFEST, "config": CONFIG, "layers": []},
    "no config": {"schemaVersion": 2, "layers": []},
    "no layers": {"schemaVersion": 2, "config": CONFIG},
    "layers are no list": manifest() | {"layers": {}},
    "layers and manifests (CVE-2021-41190)": manifest() | {"manifests": []},
    "members that Go reads": manifest() | {"Layers": [descriptor(DATA)]},
    "manifests that Go reads": manifest() | {"MANIFESTS": []},
    "another media type": manifest() | {"mediaType": media.OCI_INDEX},
    "media type is a number": manifest() | {"mediaType": 1},
    "digest is a path": manifest() | {"layers": [descriptor(DATA) | {"digest": "sha256:../../etc/passwd"}]},
    "digest is unknown": manifest() | {"layers": [descriptor(DATA) | {"digest": "md5:" + "a" * 32}]},
    "size is text": manifest() | {"layers": [descriptor(DATA) | {"size": "9"}]},
    "subject is text": manifest() | {"subject": "x"},
    "annotations of numbers": manifest() | {"annotations": {"a": 1}},
    "many layers": manifest() | {"layers": [descriptor(DATA)] * 10_001},
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_invalid_manifests(world, name):
    world.push(b"{}"), world.push(DATA)
    status, _, body = world.put("x", INVALID[name])
    assert (status, json.loads(body)["errors"][0]["code"]) == (400, "MANIFEST_INVALID")
    assert world.storage.documents == {}


def test_index_with_layers_is_ambiguous(world):
    for more in ({"layers": []}, {"config": CONFIG}):
        assert world.put("x", index() | more, kind=media.OCI_INDEX)[0] == 400
    assert world.put("x", {"schemaVersion": 2}, kind=media.OCI_INDEX)[0] == 400


def test_media_types(world):
    world.push(b"{}")
    document = manifest()
    assert world.put("x", document, kind=media.OCI_MANIFEST + "; charset=utf-8")[0] == 201
    assert world.put("x", document, kind="")[0] == 201
    assert world.put("x", document, kind="text/plain")[0] == 400
    del document["mediaType"]
    assert world.put("x", document)[0] == 201
    assert world.put("x", document, kind="application/json")[0] == 400
    assert (
        world.put("x", document | {"mediaType": media.DOCKER_MANIFEST}, kind=media.DOCKER_MANIFEST)[0] == 201
    )


def test_manifest_too_large(world):
    world.push(b"{}")
    fits = manifest(annotations={"a": "x" * (4 << 20)})
    assert world.put("x", fits)[0] == 413
    assert world.put("x", manifest(annotations={"a": "x" * ((4 << 20) - 1000)}))[0] == 201


def test_negotiation(world):
    world.push(b"{}")
    world.put("x", manifest())
    for accept, status in (
        (media.OCI_MANIFEST, 200), (f"{media.OCI_INDEX}, {media.OCI_MANIFEST};q=0.5", 200), ("*/*", 200),
        ("", 200), ("application/json", 200), (media.DOCKER_MANIFEST, 404),
        (f"{media.DOCKER_MANIFEST}, */*", 200),
    ):  # fmt: skip
        assert world.call("GET", "/v2/a/manifests/x", accept=accept)[0] == status, accept


@pytest.mark.parametrize("tag", ["-x", ".x", "x" * 129, "x y", "\u00e9", "x\n", "..", "%2e"])
def test_malformed_tags(world, tag):
    for method in ("GET", "PUT", "DELETE"):
        assert world.code(method, f"/v2/a/manifests/{tag}") == (400, "TAG_INVALID")


def test_unknown_manifests(world):
    for reference in ("x", ABSENT):
        for method in ("GET", "DELETE"):
            assert world.code(method, f"/v2/a/manifests/{reference}") == (404, "MANIFEST_UNKNOWN")


def test_manifest_delete(world):
    world.push(b"{}")
    data = json.dumps(manifest()).encode()
    world.put("x", data), world.put("y", data)
    assert world.call("DELETE", "/v2/a/manifests/x")[0] == 202
    assert world.call("GET", f"/v2/a/manifests/{digest_of(data)}")[0] == 200
    assert world.call("DELETE", f"/v2/a/manifests/{digest_of(data)}")[0] == 202
    assert world.call("GET", "/v2/a/manifests/y")[0] == 404


# lists


def test_tags_page_by_page(world):
    assert world.code("GET", "/v2/a/tags/list") == (404, "NAME_UNKNOWN")
    world.push(b"{}")
    for tag in ("b", "a", "C", "d"):
        world.put(tag, manifest())
    assert json.loads(world.call("GET", "/v2/a/tags/list")[2])["tags"] == ["C", "a", "b", "d"]
    _, headers, body = world.call("GET", "/v2/a/tags/list", query={"n": "2"})
    assert json.loads(body)["tags"] == ["C", "a"]
    assert headers["Link"] == '</v2/a/tags/list?last=a&n=2>; rel="next"'
    status, headers, body = world.call("GET", "/v2/a/tags/list", query={"n": "2", "last": "a"})
    assert (json.loads(body)["tags"], headers.get("Link")) == (["b", "d"], None)
    status, headers, body = world.call("GET", "/v2/a/tags/list", query={"n": "0"})
    assert (status, json.loads(body)["tags"], headers.get("Link")) == (200, [], None)
    assert json.loads(world.call("GET", "/v2/a/tags/list", query={"last": "b"})[2])["tags"] == ["d"]
    for wrong in ("-1", "x", "1.5", "\u0662"):
        assert world.code("GET", "/v2/a/tags/list", b"", {"n": wrong}) == (400, "PAGINATION_NUMBER_INVALID")


def test_catalog(world):
    world.push(DATA, "b/c"), world.push(DATA, "a")
    assert json.loads(world.call("GET", "/v2/_catalog")[2]) == {"repositories": ["a", "b/c"]}
    _, headers, body = world.call("GET", "/v2/_catalog", query={"n": "1"})
    assert (json.loads(body)["repositories"], headers["Link"]) == (
        ["a"],
        '</v2/_catalog?last=a&n=1>; rel="next"',
    )


def referrers(world, subject=ABSENT, **query):
    status, headers, body = world.call("GET", f"/v2/a/referrers/{subject}", query=query)
    assert (status, headers["Content-Type"]) == (200, media.OCI_INDEX)
    found = json.loads(body)
    assert (found["schemaVersion"], found["mediaType"]) == (2, media.OCI_INDEX)
    return headers, found["manifests"]


def test_referrers(world):
    assert referrers(world)[1] == []
    world.push(b"{}")
    subject = {"subject": descriptor(b"absent", media.OCI_MANIFEST)}
    plain = json.dumps(manifest(**subject, annotations={"k": "v"})).encode()
    typed = json.dumps(manifest(**subject, artifactType="x/sbom")).encode()
    listed = json.dumps(index(**subject)).encode()
    assert world.put("plain", plain)[1]["OCI-Subject"] == ABSENT
    world.put("typed", typed), world.put("listed", listed, kind=media.OCI_INDEX)
    found = {it["digest"]: it for it in referrers(world)[1]}
    assert found == {
        digest_of(plain): descriptor(
            plain, media.OCI_MANIFEST, artifactType=media.OCI_EMPTY, annotations={"k": "v"}
        ),
        digest_of(typed): descriptor(typed, media.OCI_MANIFEST, artifactType="x/sbom"),
        digest_of(listed): descriptor(listed, media.OCI_INDEX),
    }
    headers, some = referrers(world, artifactType="x/sbom")
    assert [it["digest"] for it in some] == [digest_of(typed)]
    assert headers["OCI-Filters-Applied"] == "artifactType"
    assert world.call("DELETE", f"/v2/a/manifests/{digest_of(plain)}")[0] == 202
    assert len(referrers(world)[1]) == 2


def test_referrers_page_by_page(world):
    world.push(b"{}")
    subject = {"subject": descriptor(b"absent")}
    pushed = set()
    for number in range(3):
        data = json.dumps(manifest(**subject, annotations={"k": "x" * (2 << 20), "n": str(number)})).encode()
        assert world.put(f"t{number}", data)[0] == 201
        pushed.add(digest_of(data))
    found, query = [], {}
    while True:
        headers, page = referrers(world, **query)
        found += [it["digest"] for it in page]
        if "Link" not in headers:
            break
        query = {"last": re.search("last=sha256%3A([0-9a-f]+)", headers["Link"])[0][5:].replace("%3A", ":")}
    assert (len(found), set(found)) == (3, pushed)


# who may what


def test_unknown_paths_and_methods(world):
    for path in (
        "/",
        "/v1/",
        "/v2/a",
        "/v2/a/blobs/",
        "/v2//tags/list",
        "/v2/a/manifests/",
        "/v2/_catalog/x",
    ):
        assert world.code("GET", path) == (404, "UNSUPPORTED"), path
    status, headers, body = world.call("POST", f"/v2/a/blobs/{DIGEST}")
    assert (status, headers["Allow"]) == (405, "GET, DELETE, HEAD")
    assert json.loads(body)["errors"][0]["code"] == "UNSUPPORTED"
    assert world.code("GET", "/v2/a/blobs/uploads/") == (405, "UNSUPPORTED")


def test_read_only():
    world = World(read_only="this registry is read-only")
    assert world.call("GET", "/v2/_catalog")[0] == 200
    for method, path in (
        ("POST", "/v2/a/blobs/uploads/"), ("PUT", "/v2/a/manifests/x"), ("DELETE", "/v2/a/manifests/x"),
        ("DELETE", f"/v2/a/blobs/{DIGEST}"), ("PATCH", "/v2/a/blobs/uploads/x"),
    ):  # fmt: skip
        status, _, body = world.call(method, path)
        error = json.loads(body)["errors"][0]
        assert (status, error["code"], error["message"]) == (405, "UNSUPPORTED", "this registry is read-only")
