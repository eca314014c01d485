"""The engine dies while something is pushed to its registry, or comes through its mirror; the next one serves
what was promised, and a second try succeeds.
"""

import hashlib
import json
import os

import pytest
from consistency import Consistency
from fake_registry import FakeRegistry
from test_failpoints import Killed

from registries import serving
from running_engine import RunningEngine

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DATA = os.urandom(1 << 20)
STORE = ["store.blob.before_rename", "store.blob.after_rename", "store.blob.after_row"]


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@pytest.fixture
def killed(engine: RunningEngine, consistent: Consistency) -> Killed:
    return Killed(engine)


def push(engine: RunningEngine, algorithm: str = "sha256") -> str:
    """Push an artifact of one blob; returns the manifest's digest."""
    blob = {"mediaType": "application/octet-stream", "digest": digest_of(DATA, algorithm), "size": len(DATA)}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob, "layers": []}
    data = json.dumps(document).encode()
    with serving(engine) as registry:
        _, headers, _ = registry.call("POST", "/v2/a/blobs/uploads/")
        location = headers["Location"]
        registry.call("PATCH", location, DATA)
        assert registry.call("PUT", f"{location}?digest={blob['digest']}")[0] == 201
        assert registry.call("PUT", "/v2/a/manifests/1", data, content_type=MANIFEST)[0] == 201
    return digest_of(data)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize(
    "point", [*STORE, "images.serve.before_link", "images.serve.after_link", "images.serve.before_row"]
)
def test_push(killed: Killed, point: str, algorithm: str) -> None:
    killed.arm(point)
    killed.by(lambda: push(killed.engine, algorithm))
    digest = push(killed.engine, algorithm)
    with serving(killed.engine) as registry:
        assert registry.call("GET", f"/v2/a/blobs/{digest_of(DATA, algorithm)}")[2] == DATA
        assert registry.call("HEAD", f"/v2/a/manifests/{digest}")[0] == 200


def test_a_manifest_that_was_recorded(killed: Killed) -> None:
    killed.arm("images.serve.after_row")
    killed.by(lambda: push(killed.engine))
    with serving(killed.engine) as registry:
        assert registry.call("HEAD", "/v2/a/manifests/1")[0] == 200
        assert registry.call("GET", f"/v2/a/blobs/{digest_of(DATA)}")[2] == DATA


def test_delete(killed: Killed) -> None:
    first = killed.engine.start()
    digest = push(killed.engine)
    first.kill()
    first.wait(60)

    def delete() -> None:
        with serving(killed.engine) as registry:
            registry.call("DELETE", f"/v2/a/manifests/{digest}")

    killed.arm("store.gc.after_commit")
    killed.by(delete)
    with serving(killed.engine) as registry:
        assert registry.call("HEAD", "/v2/a/manifests/1")[0] == 404
    push(killed.engine)


@pytest.mark.parametrize("point", [*STORE, "images.mirror.before_commit", "images.mirror.before_link"])
def test_mirror(killed: Killed, point: str) -> None:
    upstream = FakeRegistry()
    upstream.add_image("a", [DATA])

    def read() -> bytes:
        with serving(killed.engine, Mirror=upstream.url) as mirror:
            assert mirror.call("GET", "/v2/a/manifests/latest")[0] == 200
            return mirror.call("GET", f"/v2/a/blobs/{digest_of(DATA)}")[2]

    try:
        killed.arm(point)
        killed.by(read)
        assert read() == DATA
    finally:
        upstream.close()
