"""Manifests and blobs read from a registry, well-behaved or not."""

import io
import json
import socket
import threading

import msgspec
import pytest
from fake_registry import Reply, digest_of, error, silent_port

from onggi.errors import DataLoss, InvalidArgument, NotFound, OnggiError, Unavailable, Unsupported
from onggi.registry.cancel import Cancel, Cancelled, Guard
from onggi.registry.failures import Transient, Unreachable
from onggi.registry.settings import Limits
from onggi.registry.transport import CHUNK

MANIFESTS = "/v2/library/thing/manifests/.*"
BLOBS = "/v2/library/thing/blobs/.*"
MAYBE = "repository does not exist or may require 'docker login'"
OCI = "application/vnd.oci.image.manifest.v1+json"
QUICK = Limits(backoff_s=0.01, connect_s=30, read_s=30)


def replaced(**changes):
    return msgspec.structs.replace(QUICK, **changes)


def read_blob(repository, digest, offset=0, size=None):
    with repository.blob(digest, offset, size) as opened_blob:
        return opened_blob.offset, b"".join(opened_blob.chunks)


def test_a_tag_gives_manifest_and_digest(fake, opened):
    digest = fake.add_image("library/thing", [b"layer"])
    fetched = opened(fake.host).resolve("latest")
    assert (fetched.digest, digest_of(fetched.data)) == (digest, digest)
    assert fetched.media_type == OCI
    assert opened(fake.host, f"library/thing@{digest}").resolve().digest == digest
    accepted = fake.seen("GET", "manifests")[0].headers["accept"]
    assert "application/vnd.oci.image.index.v1+json" in accepted


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("MANIFEST_UNKNOWN", 404, "manifest for {host}/library/thing:latest not found: manifest unknown: M"),
        ("NAME_UNKNOWN", 404, "repository {host}/library/thing not found: name unknown: M"),
        ("DENIED", 403, f"pull access denied for {{host}}/library/thing, {MAYBE}: denied: M"),
    ],
)
def test_what_is_not_there_is_told_in_dockers_words(fake, opened, code, status, words):
    fake.on("GET", MANIFESTS, error(status, code, "M"))
    with pytest.raises(NotFound) as failed:
        opened(fake.host).resolve()
    assert str(failed.value) == words.format(host=fake.host)


def test_a_bare_404_is_a_missing_manifest(fake, opened):
    fake.on("GET", MANIFESTS, Reply(404, b"<html>nope</html>", {"Content-Type": "text/html"}))
    with pytest.raises(NotFound, match="not found: manifest unknown: manifest unknown"):
        opened(fake.host).resolve()


def test_a_page_in_place_of_a_manifest_is_named(fake, opened):
    fake.on("GET", MANIFESTS, Reply(200, b"<html>Please log in</html>", {"Content-Type": "text/html"}))
    with pytest.raises(Unsupported, match="media type text/html: is this a registry"):
        opened(fake.host).resolve()


def test_schema_1_is_refused_by_name(fake, opened):
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    body = json.dumps({"schemaVersion": 1, "fsLayers": []}).encode()
    fake.on("GET", MANIFESTS, Reply(200, body, {"Content-Type": kind}))
    with pytest.raises(Unsupported, match="schema 1 is not supported"):
        opened(fake.host).resolve()


def test_a_manifest_that_is_not_what_was_asked_for(fake, opened):
    digest = fake.add_image("library/thing", [b"layer"])
    other = json.dumps({"schemaVersion": 2}).encode()
    fake.on("GET", MANIFESTS, Reply(200, other, {"Content-Type": OCI}))
    with pytest.raises(DataLoss, match=f"manifest verification failed for digest {digest}"):
        opened(fake.host).resolve(digest)


MALFORMED = [
    "sha256:",
    "sha256:../../x",
    f"sha256:{'a' * 63}",
    f"sha256:{'A' * 64}",
    f"sha256:{'a' * 64}/../x",
]


@pytest.mark.parametrize(
    "digest", [*MALFORMED, "../blobs/x", "a/b", "a?b", "a b", "a\n", "", "-a", "a" * 129]
)
def test_cve_2024_3727_malformed_digests_are_refused_before_any_request(fake, opened, digest):
    repository = opened(fake.host, pushing=True)
    calls = [
        lambda: read_blob(repository, digest),
        lambda: repository.has_blob(digest),
        lambda: repository.mount(digest, "a/b"),
        lambda: repository.mount(digest_of(b"x"), f"a/b {digest}"),
        lambda: repository.upload(digest, 1, lambda: io.BytesIO(b"x")),
        lambda: repository.put_manifest(digest, b"{}", OCI),
    ]
    if digest:  # an empty one is the reference's own
        calls += [lambda: repository.resolve(digest), lambda: repository.current(digest)]
    for call in calls:
        with pytest.raises(InvalidArgument):
            call()
    assert not fake.calls


@pytest.mark.parametrize("told", [f"sha256:{'0' * 64}", "sha256:short", "md5:0", f"sha512:{'0' * 128}"])
def test_a_wrong_digest_header_is_refused(fake, opened, told):
    fake.add_image("library/thing", [b"layer"])
    _, data = fake.manifests["library/thing/latest"]
    fake.on("GET", MANIFESTS, Reply(200, data, {"Content-Type": OCI, "Docker-Content-Digest": told}))
    with pytest.raises(DataLoss, match="igest"):
        opened(fake.host).resolve()


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_a_manifest_has_a_size_limit(fake, opened, told):
    body = b" " * (QUICK.document_bytes + 1)
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" + body
    fake.on("GET", MANIFESTS, Reply(200, body, {"Content-Type": OCI}) if told else Reply(raw=raw))
    words = "an answer of 4194305 bytes, at most 4194304" if told else "longer than the 4194304 bytes"
    with pytest.raises(DataLoss, match=words):
        opened(fake.host).resolve()


def failing(times, reply):
    """A script that answers ``reply`` so often, and then leaves it to the store."""
    count = iter(range(times))
    return lambda _call: reply if next(count, None) is not None else None


@pytest.mark.parametrize(
    "reply",
    [
        Reply(503),
        Reply(500, b"oops"),
        Reply(raw=b""),
        Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
    ],
    ids=["503", "500", "nothing", "short", "no HTTP"],
)
def test_troubles_that_pass_are_waited_for(fake, opened, reply):
    digest = fake.add_image("library/thing", [b"layer"])
    fake.on("GET", MANIFESTS, failing(4, reply))
    assert opened(fake.host).resolve().digest == digest
    assert len(fake.seen("GET", "manifests")) == 5


def test_after_five_attempts_it_is_enough(fake, opened):
    fake.on("GET", MANIFESTS, Reply(502))
    with pytest.raises(Unavailable, match="received unexpected HTTP status: 502 Bad Gateway"):
        opened(fake.host).resolve()
    assert len(fake.seen("GET", "manifests")) == 5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 418, 429, 501])
def test_refusals_are_not_asked_for_again(fake, opened, status):
    fake.on("GET", MANIFESTS, Reply(status))
    with pytest.raises(OnggiError) as failed:
        opened(fake.host).resolve()
    assert type(failed.value).__module__ == "onggi.errors"
    assert len(fake.seen("GET", "manifests")) == 1


def test_a_limit_of_requests_is_told_with_what_to_do(fake, opened):
    told = "You have reached your pull rate limit."
    fake.on("GET", MANIFESTS, error(429, "TOOMANYREQUESTS", told, {"Retry-After": "77"}))
    with pytest.raises(Unavailable) as failed:
        opened(fake.host).resolve()
    assert str(failed.value).startswith(f"toomanyrequests: {told} (the registry limits requests: ")
    assert "try again in 77 seconds, log in, or use a mirror" in str(failed.value)


def test_a_registrys_words_reach_no_terminal_raw(fake, opened):
    fake.on("GET", MANIFESTS, error(400, "NAME_INVALID", "bad \x1b[31m\nname"))
    with pytest.raises(Exception, match=r"name invalid: bad  \[31m name$"):
        opened(fake.host).resolve()


def test_nobody_listens(opened):
    listener, port = silent_port()
    listener.close()
    with pytest.raises(Unreachable) as failed:
        opened(f"127.0.0.1:{port}").resolve()
    told = f'Get "http://127.0.0.1:{port}/v2/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    assert str(failed.value) == told


def test_a_name_that_does_not_exist(opened):
    with pytest.raises(
        Unreachable, match=r'Get "https://nowhere.invalid/v2/": dial tcp: lookup nowhere.invalid'
    ):
        opened("nowhere.invalid").resolve()


def test_a_blob_in_large_pieces(fake, opened):
    data = bytes(range(256)) * (CHUNK // 128)
    digest = fake.add_blob(data)
    with opened(fake.host).blob(digest, size=len(data)) as blob:
        pieces = list(blob.chunks)
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces] == [CHUNK, CHUNK]


def test_a_blob_goes_on_where_it_broke_off(fake, opened):
    digest = fake.add_blob(b"0123456789")
    assert read_blob(opened(fake.host), digest, 4, 10) == (4, b"456789")
    assert fake.seen("GET", "blobs")[0].headers["range"] == "bytes=4-"


def test_a_registry_that_knows_no_ranges(fake, opened):
    digest = fake.add_blob(b"0123456789")
    fake.on("GET", BLOBS, Reply(200, b"0123456789"))
    assert read_blob(opened(fake.host), digest, 4, 10) == (0, b"0123456789")


def test_a_range_behind_the_end(fake, opened):
    digest = fake.add_blob(b"0123456789")
    assert read_blob(opened(fake.host), digest, 99, 10) == (0, b"0123456789")


@pytest.mark.parametrize("told", ["bytes 3-9/10", "bytes */10", "", "bytes 4-9", "items 4-9/10"])
def test_another_range_than_asked_for_is_refused(fake, opened, told):
    digest = fake.add_blob(b"0123456789")
    fake.on("GET", BLOBS, Reply(206, b"456789", {"Content-Range": told}))
    with pytest.raises(DataLoss, match="not the range"):
        read_blob(opened(fake.host), digest, 4, 10)


def test_a_blob_of_another_length(fake, opened):
    digest = fake.add_blob(b"0123456789")
    with pytest.raises(DataLoss, match="the registry has 10 bytes, the manifest says 9"):
        read_blob(opened(fake.host), digest, size=9)


def test_a_blob_without_length_has_its_bounds(fake, opened):
    digest = fake.add_blob(b"x")
    fake.on("GET", BLOBS, Reply(raw=b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"0123456789"))
    with pytest.raises(DataLoss, match="more bytes than the manifest says"):
        read_blob(opened(fake.host), digest, size=9)
    assert read_blob(opened(fake.host), digest, size=10) == (0, b"0123456789")


def test_a_blob_that_breaks_off(fake, opened):
    digest = fake.add_blob(b"x")
    fake.on("GET", BLOBS, Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234"))
    with opened(fake.host).blob(digest, size=10) as blob:
        assert next(blob.chunks) == b"01234"
        with pytest.raises(Transient, match="unexpected EOF"):
            next(blob.chunks)


def test_bytes_behind_an_answer_are_not_the_next_answer(fake, opened):
    """A lie about the length: what is too much must not be taken for the answer to the next request."""
    digest = fake.add_blob(b"01234")
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n01234" + evil
    repository = opened(fake.host)
    fake.on("GET", BLOBS, failing(1, Reply(raw=answer)))
    assert read_blob(repository, digest) == (0, b"01234")
    assert read_blob(repository, digest) == (0, b"01234")


def test_a_missing_blob(fake, opened):
    with pytest.raises(NotFound, match="blob unknown: blob unknown to registry"):
        read_blob(opened(fake.host), digest_of(b"absent"))
    assert opened(fake.host).has_blob(digest_of(b"absent")) is None
    assert opened(fake.host).has_blob(fake.add_blob(b"here")) == 4


def hang(fake):
    """A script that answers nothing until the fake is closed."""

    def wait(_call):
        fake.released.wait(60)
        return Reply(raw=b"")

    return wait


def test_silence_has_an_end(fake, opened):
    fake.on("GET", MANIFESTS, hang(fake))
    with pytest.raises(Unavailable, match="timeout awaiting the answer"):
        opened(fake.host, limits=replaced(read_s=0.2, attempts=1)).resolve()


def drip(fake, head):
    """A script that sends a head and then single bytes, for ever."""

    def send(call):
        call.handler.wfile.write(head)
        while not fake.released.wait(0.02):
            call.handler.wfile.write(b" ")
        return Reply(raw=b"")

    return send


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_document_that_drips_has_an_end(fake, opened, head):
    fake.on("GET", MANIFESTS, drip(fake, head))
    with pytest.raises(Unavailable, match="context deadline exceeded"):
        opened(fake.host, limits=replaced(document_s=0.5, attempts=1)).resolve()


def test_a_blob_that_hardly_moves_has_an_end(fake, opened):
    digest = fake.add_blob(b"x")
    fake.on("GET", BLOBS, drip(fake, b"HTTP/1.1 200 OK\r\n\r\n"))
    with pytest.raises(Transient, match="the transfer stalled"):
        read_blob(opened(fake.host, limits=replaced(stall_s=0.3)), digest)


def cancelled(action, cancel, ready):
    """The error of ``action`` in another thread, after ``ready`` and then ``cancel``."""
    errors = []

    def run():
        try:
            action()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(30)
    cancel.set()
    thread.join(30)
    assert not thread.is_alive()
    return errors[0]


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n01234"])
def test_cancel_ends_a_silent_answer(fake, opened, head):
    asked, cancel = threading.Event(), Cancel()

    def wait(call):
        call.handler.wfile.write(head)
        asked.set()
        fake.released.wait(60)
        return Reply(raw=b"")

    fake.on("GET", BLOBS, wait)
    repository, digest = opened(fake.host, cancel=cancel), fake.add_blob(b"x")
    assert isinstance(cancelled(lambda: read_blob(repository, digest), cancel, asked), Cancelled)
    with pytest.raises(Cancelled):
        repository.resolve()


@pytest.fixture
def full_port():
    """A port that answers no more connections: its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(8):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(listener.getsockname())
    yield listener.getsockname()[1]
    for each in (*waiting, listener):
        each.close()


def test_connecting_has_an_end(opened, full_port):
    with pytest.raises(Unreachable, match=f"dial tcp 127.0.0.1:{full_port}: connect: i/o timeout"):
        opened(f"127.0.0.1:{full_port}", limits=replaced(connect_s=0.2)).resolve()


def test_cancel_ends_a_connection_that_is_not_taken(opened, full_port, monkeypatch):
    connecting, cancel = threading.Event(), Cancel()
    adopt = Guard.adopt

    def watched(guard, connection):
        adopt(guard, connection)
        connecting.set()

    monkeypatch.setattr(Guard, "adopt", watched)
    repository = opened(f"127.0.0.1:{full_port}", cancel=cancel, limits=replaced(connect_s=600))
    assert isinstance(cancelled(repository.resolve, cancel, connecting), Cancelled)


def test_cancel_ends_a_handshake(opened):
    """The other side takes the connection and says nothing: TLS never begins."""
    listener, port = silent_port()
    cancel, taken, over = Cancel(), threading.Event(), threading.Event()

    def take():
        connection, _ = listener.accept()
        taken.set()
        over.wait(60)
        connection.close()

    taker = threading.Thread(target=take)
    taker.start()
    repository = opened(f"127.0.0.1:{port}", cancel=cancel)
    assert isinstance(cancelled(repository.resolve, cancel, taken), Cancelled)
    over.set()
    taker.join(30)
    listener.close()


def test_cancel_ends_a_pause_between_attempts(fake, opened):
    pausing = threading.Event()

    class Watched(Cancel):
        def sleep(self, seconds):
            pausing.set()
            super().sleep(seconds)

    cancel = Watched()
    fake.on("GET", MANIFESTS, Reply(503))
    repository = opened(fake.host, cancel=cancel, limits=replaced(backoff_s=600.0))
    assert isinstance(cancelled(repository.resolve, cancel, pausing), Cancelled)


def test_cancel_ends_a_look_up(monkeypatch, opened):
    asked, cancel, over = threading.Event(), Cancel(), threading.Event()

    def slow(*_args, **_options):
        asked.set()
        over.wait(60)
        return []

    monkeypatch.setattr("socket.getaddrinfo", slow)
    repository = opened("registry.example", cancel=cancel)
    assert isinstance(cancelled(repository.resolve, cancel, asked), Cancelled)
    over.set()


def test_a_mirror_is_asked_first_and_forgiven(registries, opened, monkeypatch):
    mirror, hub = registries(), registries()
    monkeypatch.setattr("onggi.registry.endpoints.HUB", hub.host)
    digest = hub.add_image("library/thing", [b"layer"])
    blob = next(iter(hub.blobs))
    insecure = frozenset({"docker.io"})
    repository = opened("docker.io", mirrors=(mirror.url,), insecure_hosts=insecure)
    assert repository.resolve().digest == digest
    assert read_blob(repository, blob)[0] == 0
    assert len(mirror.seen("GET", "manifests")) == 1
    assert not mirror.seen("GET", "blobs")  # it was not asked again
    mirror.add_image("library/thing", [b"layer"])
    hub.calls.clear()
    assert opened("docker.io", mirrors=(mirror.url,), insecure_hosts=insecure).resolve().digest == digest
    assert not hub.calls


def test_mirrors_are_for_the_hub_alone(registries, opened):
    mirror, registry = registries(), registries()
    digest = registry.add_image("library/thing", [b"layer"])
    assert opened(registry.host, mirrors=(mirror.url,)).resolve().digest == digest
    assert not mirror.calls


def test_a_refusal_without_words_gets_dockers(fake, opened):
    fake.on("GET", BLOBS, error(403, "DENIED", ""))
    with pytest.raises(NotFound, match="requested access to the resource is denied"):
        read_blob(opened(fake.host), digest_of(b"x"))
