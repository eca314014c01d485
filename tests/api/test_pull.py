"""``pull`` through a real engine, from a registry that does as it is told: shared, ended, hostile."""

import gzip
import json
import os
import signal
import subprocess
import threading
import time
import zlib

import pytest
from fake_registry import FakeRegistry, Reply

from engines import DEADLINE_S, wait_until
from image_archives import CONFIG, INDEX, LAYER, LAYER_GZIP, MANIFEST, config, digest, layer

S390X, AMD64 = ({"os": "linux", "architecture": it} for it in ("s390x", "amd64"))


@pytest.fixture
def fake(engine):
    registry = FakeRegistry()
    # Of its own for each test: what is here already would not be downloaded.
    registry.base, registry.top = (
        layer({"a": b"one", "noise": os.urandom(3 << 20)}),
        layer({"b": os.urandom(99)}),
    )
    registry.tar, registry.squeezed = (gzip.compress(it, 1, mtime=0) for it in (registry.base, registry.top))
    yield registry
    registry.close()
    listed = engine.docker("images", "-aq", f"{registry.host}/*").stdout.decode().split()
    if listed:
        engine.docker("rmi", "-f", *listed)


def publish(fake, name="it", tag="latest", blobs=(), document=None, **wrong) -> str:
    """An image of two layers; ``wrong`` replaces members of its manifest."""
    document = config([fake.base, fake.top]) if document is None else document
    blobs = blobs or (fake.tar, fake.squeezed)
    entries = [{"mediaType": LAYER_GZIP, "digest": fake.add_blob(it), "size": len(it)} for it in blobs]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": fake.add_blob(document), "size": len(document)},
        "layers": entries,
    }
    return fake.add_manifest(name, manifest | wrong, tag)


class Gate:
    """Answers the first part of a blob and then waits to be told to go on."""

    def __init__(self, fake, data: bytes, first: int) -> None:
        self.data, self.first, self.fake = data, first, fake
        self.reached, self.go = threading.Event(), threading.Event()
        fake.on("GET", f".*/blobs/{digest(data)}", self.answer)

    def answer(self, call):
        if self.go.is_set():
            return None
        handler = call.handler
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(self.data)))
        handler.end_headers()
        handler.wfile.write(self.data[: self.first])
        handler.wfile.flush()
        self.reached.set()
        self.go.wait(DEADLINE_S)
        try:
            handler.wfile.write(self.data[self.first :])
        except OSError:
            handler.close_connection = True
        return Reply(raw=b"")


def pulling(engine, name) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["docker", "pull", name], env=engine.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def blob_requests(fake, data: bytes) -> list:
    return fake.seen("GET", f"/blobs/{digest(data)}")


def partials(engine) -> list[str]:
    return os.listdir(engine.data_root / "ingest")


def test_two_clients_download_once(engine, fake):
    name = f"{fake.host}/it"
    publish(fake)
    gate = Gate(fake, fake.tar, 1 << 20)
    first = pulling(engine, name)
    assert gate.reached.wait(DEADLINE_S)
    second = pulling(engine, name)
    wait_until(lambda: len(fake.seen("GET", "/v2/$")) >= 1 and second.poll() is None, "the second client")
    gate.go.set()
    for client in (first, second):
        out, errors = client.communicate(timeout=DEADLINE_S)
        assert client.returncode == 0, errors
        assert b"Digest: sha256:" in out
    assert len(blob_requests(fake, fake.tar)) == len(blob_requests(fake, fake.squeezed)) == 1


def test_one_who_leaves_takes_nothing_from_the_other(engine, fake):
    name = f"{fake.host}/it"
    publish(fake)
    gate = Gate(fake, fake.tar, 1 << 20)
    first, second = pulling(engine, name), pulling(engine, name)
    assert gate.reached.wait(DEADLINE_S)
    while b"Pulling from it" not in second.stdout.readline():  # what a client is told that came aboard
        assert second.poll() is None
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=DEADLINE_S)
    gate.go.set()
    second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 0
    assert len(blob_requests(fake, fake.tar)) == 1


def test_a_pull_that_was_ended_is_continued(engine, fake):
    name = f"{fake.host}/it"
    publish(fake)
    gate = Gate(fake, fake.tar, 2 << 20)
    client = pulling(engine, name)
    assert gate.reached.wait(DEADLINE_S)
    partial = engine.data_root / "ingest" / digest(fake.tar)[7:]
    wait_until(lambda: partial.exists() and partial.stat().st_size >= 1 << 20, "some of the blob")
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=DEADLINE_S)
    wait_until(lambda: not _writes(engine, partial), "the end of the download")
    there = partial.stat().st_size
    assert there >= 1 << 20
    gate.go.set()
    engine.docker("pull", name, check=True)
    assert blob_requests(fake, fake.tar)[-1].headers["range"] == f"bytes={there}-"
    assert partials(engine) == []


def test_a_killed_engine_continues_too(engine, fake):
    name = f"{fake.host}/it"
    publish(fake)
    gate = Gate(fake, fake.tar, 2 << 20)
    client = pulling(engine, name)
    assert gate.reached.wait(DEADLINE_S)
    partial = engine.data_root / "ingest" / digest(fake.tar)[7:]
    wait_until(lambda: partial.exists() and partial.stat().st_size >= 1 << 20, "some of the blob")
    engine.kill()
    client.communicate(timeout=DEADLINE_S)
    engine.start()
    there = partial.stat().st_size
    gate.go.set()
    engine.docker("pull", name, check=True)
    assert blob_requests(fake, fake.tar)[-1].headers["range"] == f"bytes={there}-"


def _writes(engine, path) -> bool:
    """Whether the engine has the file open."""
    place = f"/proc/{engine.process.pid}/fd"
    return any(os.path.realpath(f"{place}/{name}") == str(path) for name in os.listdir(place))


def test_only_the_platform_asked_for_is_pulled(engine, fake):
    ours = publish(fake, tag="one")
    other = publish(fake, tag="two", document=config([fake.base, fake.top], architecture="s390x"))
    sizes = {it: len(fake.manifests[f"it/{it}"][1]) for it in (ours, other)}
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {
                "mediaType": MANIFEST,
                "digest": it,
                "size": sizes[it],
                "platform": {"os": "linux", "architecture": arch},
            }
            for it, arch in ((other, "s390x"), (ours, "amd64"))
        ],
    }
    whole = fake.add_manifest("it", json.dumps(index).encode(), "both", INDEX)
    name = f"{fake.host}/it:both"
    out = engine.docker("pull", "--platform", "linux/amd64", name, check=True).stdout.decode()
    assert f"Digest: {whole}" in out
    assert not fake.seen("GET", f"/manifests/{other}")
    facts = json.loads(engine.docker("image", "inspect", name, check=True).stdout)[0]
    assert facts["Architecture"] == "amd64"
    assert facts["RepoDigests"] == [f"{fake.host}/it@{whole}"]
    done = engine.docker("pull", "--platform", "linux/arm64", name)
    assert b"no matching manifest for linux/arm64 in the manifest list entries" in done.stderr


def test_events_of_moving_an_image_have_its_labels(engine, client, fake):
    publish(fake, document=config([fake.base, fake.top], config={"Labels": {"a": "b", "name": "lost"}}))
    name = f"{fake.host}/it"
    for verb in ("pull", "push"):
        engine.docker(verb, name, check=True)
    past = client.events(since=1, until=int(time.time()) + 1, filters={"image": name}, decode=True)
    told = [it for it in past if it["Actor"]["ID"] == f"{name}:latest"]
    assert [(it["Action"], it["Actor"]["Attributes"]) for it in told] == [
        (verb, {"a": "b", "name": name}) for verb in ("pull", "push")
    ]


def test_a_wrong_platform_is_warned_of_in_dockers_words(engine, fake):
    publish(fake, document=config([fake.base, fake.top], architecture="s390x"))
    out = engine.docker("pull", "--platform", "linux/arm64", f"{fake.host}/it", check=True).stdout.decode()
    assert (
        f"WARNING: image with reference {fake.host}/it:latest was found but its platform (linux/s390x) does "
        "not match the specified platform (linux/arm64)"
    ) in out


def both(document: dict) -> bytes:
    return json.dumps(document | {"manifests": []}).encode()


def foreign(fake) -> dict:
    entry = {
        "mediaType": LAYER,
        "digest": fake.add_blob(fake.base),
        "size": len(fake.base),
        "urls": ["http://127.0.0.1:1/x"],
    }
    return {"layers": [entry, entry]}


def wrong_digest(fake) -> None:
    publish(fake)
    fake.blobs[digest(fake.squeezed)] = bytes(len(fake.squeezed))


def truncated(fake) -> None:
    publish(fake)
    fake.blobs[digest(fake.squeezed)] = fake.squeezed[:-10]


def ambiguous(fake) -> None:
    kind, data = fake.manifests[f"it/{publish(fake)}"]
    fake.manifests["it/latest"] = (kind, both(json.loads(data)))


def other_layers(fake) -> None:
    publish(fake, document=config([fake.top, fake.base]))


def bomb(fake) -> None:
    """More than a gigabyte of zeros, of which one piece is compressed: the others are like it."""
    squeezer, zeros = zlib.compressobj(9, zlib.DEFLATED, 31), bytes(16 << 20)
    begin, piece = (
        squeezer.compress(it) + squeezer.flush(zlib.Z_FULL_FLUSH) for it in (layer({"zeros": b""}), zeros)
    )
    publish(fake, blobs=(begin + 80 * piece, fake.squeezed))


def lying_size(fake) -> None:
    entries = [
        {"mediaType": LAYER_GZIP, "digest": digest(it), "size": len(it) + 1}
        for it in (fake.tar, fake.squeezed)
    ]
    publish(fake, layers=entries)


def html(fake) -> None:
    fake.on("GET", "/v2/it/manifests/.*", Reply(200, b"<html>log in</html>", {"Content-Type": "text/html"}))


def redirects(fake) -> None:
    publish(fake)
    place = f"/v2/it/blobs/{digest(fake.squeezed)}"
    fake.on("GET", place, Reply(307, b"", {"Location": place}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (wrong_digest, b"verification failed"),
        (truncated, b"bytes, the manifest says"),
        (ambiguous, b"ambiguous"),
        (lambda fake: publish(fake, **foreign(fake)), b"foreign layer"),
        (lambda fake: publish(fake, mediaType="application/x.odd"), b"the registry says"),
        (lambda fake: publish(fake, layers=[]), b"don't match image configuration"),
        (other_layers, b"don't match image configuration"),
        (lying_size, b"bytes, the manifest says"),
        (html, b"is this a registry"),
        (redirects, b"redirect"),
        (lambda fake: None, b"manifest unknown"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_what_a_registry_says_wrongly_is_refused(engine, fake, spoil, words):
    spoil(fake)
    done = engine.docker("pull", f"{fake.host}/it")
    assert done.returncode == 1
    assert words in done.stderr, done
    assert not engine.docker("images", "-q", f"{fake.host}/it").stdout


def test_cve_2017_14992_a_layer_that_explodes_is_refused(engine, fake):
    bomb(fake)
    done = engine.docker("pull", f"{fake.host}/it")
    assert b"more than 100 times its size" in done.stderr, done


def test_cve_2020_15157_a_layer_elsewhere_is_not_fetched(engine, fake):
    trap = FakeRegistry()
    try:
        entry = {
            "mediaType": LAYER,
            "digest": digest(fake.base),
            "size": len(fake.base),
            "urls": [f"{trap.url}/layer"],
        }
        publish(fake, layers=[entry])
        assert b"foreign layer" in engine.docker("pull", f"{fake.host}/it").stderr
        assert trap.calls == []
    finally:
        trap.close()
