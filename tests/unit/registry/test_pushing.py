"""Blobs and manifests sent to a registry, on good and bad days."""

import base64
import io
import threading

import msgspec
import pytest
from fake_registry import Reply, digest_of, error, silent_port

from onggi.errors import (
    DataLoss,
    Forbidden,
    InvalidArgument,
    NotFound,
    OnggiError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from onggi.registry.cancel import Cancel, Cancelled
from onggi.registry.credentials import AuthConfig
from onggi.registry.failures import Transient
from onggi.registry.settings import Limits

SMALL = b"0123456789"
LARGE = bytes(range(251)) * 20_000  # 5 MB
OCI = "application/vnd.oci.image.manifest.v1+json"
UPLOADS = "/v2/library/thing/blobs/uploads/.*"
QUICK = Limits(backoff_s=0.01, connect_s=30, read_s=30)
USER = AuthConfig(username="kim", password="s3cret")


def send(repository, data, progress=None):
    repository.upload(digest_of(data), len(data), lambda: io.BytesIO(data), progress)


@pytest.mark.parametrize("data", [b"", b"x", SMALL, LARGE[: 1 << 20], LARGE], ids=len)
def test_a_blob_arrives(fake, opened, data):
    heard = []
    send(opened(fake.host, pushing=True), data, heard.append)
    assert fake.blobs == {digest_of(data): data}
    assert heard == sorted(heard)
    assert heard[-1] == len(data)
    assert fake.uploads == {}


def test_a_small_blob_goes_in_one_piece(fake, opened):
    send(opened(fake.host, pushing=True), SMALL)
    assert [call.method for call in fake.calls if "/uploads/" in call.path] == ["POST", "PUT"]


def test_a_large_blob_is_streamed(fake, opened):
    send(opened(fake.host, pushing=True), LARGE)
    assert [call.method for call in fake.calls if "/uploads/" in call.path] == ["POST", "PATCH", "PUT"]
    patch, put = fake.seen("PATCH")[0], fake.seen("PUT")[0]
    assert patch.headers["content-length"] == str(len(LARGE))
    # Each answer tells where to go on.
    assert patch.query["_state"] != put.query["_state"]
    assert put.query["digest"] == [digest_of(LARGE)]


@pytest.mark.parametrize("kept", [[2_000_000], [1_000_000, 2_500_000], [100_000] * 8])
def test_a_broken_upload_is_continued(fake, opened, kept):
    fake.break_after = list(kept)
    send(opened(fake.host, pushing=True, limits=msgspec.structs.replace(QUICK, attempts=2)), LARGE)
    assert fake.blobs == {digest_of(LARGE): LARGE}
    assert len(fake.seen("POST")) == 1
    patches = fake.seen("PATCH")
    assert len(patches) == len(kept) + 1
    assert patches[1].headers["content-range"] == f"{kept[0]}-{len(LARGE) - 1}"


def test_a_broken_upload_that_is_forgotten_begins_again(fake, opened):
    fake.break_after, fake.resumable = [2_000_000], False
    send(opened(fake.host, pushing=True), LARGE)
    assert fake.blobs == {digest_of(LARGE): LARGE}
    assert len(fake.seen("POST")) == 2


def test_a_broken_small_upload_begins_again(fake, opened):
    fake.break_after = [5]
    send(opened(fake.host, pushing=True), SMALL)
    assert fake.blobs == {digest_of(SMALL): SMALL}


def test_only_the_answer_was_lost(fake, opened):
    def lose(call):
        fake.add_blob(LARGE)
        return Reply(raw=b"")

    fake.on("PUT", UPLOADS, lose)
    heard = []
    send(opened(fake.host, pushing=True), LARGE, heard.append)
    assert heard[-1] == len(LARGE)
    assert len(fake.seen("PUT")) == 1


def test_an_upload_that_never_works_has_an_end(fake, opened):
    fake.on("PATCH", UPLOADS, Reply(503))
    with pytest.raises(Unavailable, match="received unexpected HTTP status: 503 Service Unavailable"):
        send(opened(fake.host, pushing=True), LARGE)
    assert len(fake.seen("PATCH")) == 5


def test_a_registry_that_takes_less_than_it_was_given(fake, opened):
    """It says 202 and where it stands: the rest is sent."""
    short = iter([1_000_000])

    def take(call):
        keep = next(short, None)
        if keep is None:
            return None
        upload = call.path.rpartition("/")[2]
        fake.uploads[upload] = call.body[:keep]
        return fake._standing(202, "library/thing", upload)

    fake.on("PATCH", UPLOADS, take)
    send(opened(fake.host, pushing=True), LARGE)
    assert fake.blobs == {digest_of(LARGE): LARGE}


def test_a_file_that_is_too_short(fake, opened):
    for size in (len(SMALL) + 1, 2 << 20):
        with pytest.raises(DataLoss, match="is shorter than"):
            opened(fake.host, pushing=True).upload(digest_of(SMALL), size, lambda: io.BytesIO(SMALL))


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (
            error(403, "DENIED", "requested access to the resource is denied"),
            Forbidden,
            "denied: requested access",
        ),
        (error(401, "UNAUTHORIZED", ""), Unauthenticated, "unauthorized: authentication required"),
        (
            error(412, "DENIED", "adding 5 MiB would exceed the quota"),
            Forbidden,
            "denied: adding 5 MiB would",
        ),
        (error(404, "NAME_UNKNOWN", ""), NotFound, "name unknown: repository name not known to registry"),
        (error(405, "UNSUPPORTED", ""), Unsupported, "unsupported: The operation is unsupported."),
        (Reply(413, b"<html>"), InvalidArgument, 'error parsing HTTP 413 response body: .*: "<html>"'),
        (Reply(200), Unavailable, "began no upload"),
        (Reply(202), Unavailable, "began no upload"),
    ],
)
def test_refusals_in_dockers_words(fake, opened, reply, kind, words):
    fake.on("POST", UPLOADS, reply)
    with pytest.raises(kind, match=words):
        send(opened(fake.host, pushing=True), SMALL)
    assert len(fake.seen("POST")) == 1


def test_several_reasons(fake, opened):
    body = b'{"errors": [{"code": "DENIED", "message": "no"}, {"code": "UNAUTHORIZED"}]}'
    fake.on("POST", UPLOADS, Reply(403, body))
    with pytest.raises(Forbidden) as failed:
        send(opened(fake.host, pushing=True), SMALL)
    assert str(failed.value) == "errors:\ndenied: no\nunauthorized: authentication required\n"


def test_a_blob_of_another_digest(fake, opened):
    with pytest.raises(InvalidArgument, match="digest invalid: provided digest did not match"):
        opened(fake.host, pushing=True).upload(digest_of(b"other"), len(SMALL), lambda: io.BytesIO(SMALL))
    fake.on("PUT", UPLOADS, Reply(201, b"", {"Docker-Content-Digest": digest_of(b"other")}))
    with pytest.raises(DataLoss, match="the registry took the blob"):
        send(opened(fake.host, pushing=True), SMALL)


def test_a_registry_that_stops_listening_can_still_say_why(fake, opened):
    """It answers in the midst of the body and reads no further."""
    fake.break_after = [1000]
    original = fake._send

    def answer(handler, reply):
        original(
            handler, error(403, "DENIED", "quota", {"Connection": "close"}) if reply.raw == b"" else reply
        )

    fake._send = answer
    with pytest.raises((Forbidden, Transient), match=r"denied: quota|reset|EOF|broken"):
        send(opened(fake.host, pushing=True, limits=msgspec.structs.replace(QUICK, attempts=1)), LARGE)


def test_mounting(fake, opened):
    digest = fake.add_blob(SMALL)
    assert opened(fake.host, pushing=True).mount(digest, "library/other")
    (asked,) = fake.seen("POST")
    assert asked.query == {"mount": [digest], "from": ["library/other"]}


def test_a_mount_that_becomes_an_upload(fake, opened):
    repository = opened(fake.host, pushing=True)
    assert not repository.mount(digest_of(SMALL), "library/other")
    send(repository, SMALL)
    assert len(fake.seen("POST")) == 1  # the offered upload was used
    assert fake.blobs == {digest_of(SMALL): SMALL}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_mount_that_is_refused_is_no_error(fake, opened, status):
    fake.on("POST", UPLOADS, lambda call: Reply(status) if "mount" in call.query else None)
    repository = opened(fake.host, pushing=True)
    assert not repository.mount(digest_of(SMALL), "library/other")
    send(repository, SMALL)


def test_the_scopes_of_tokens(fake, opened):
    challenge = {"WWW-Authenticate": f'Bearer realm="{fake.url}/token",service="fake"'}
    fake.on("GET", "/token", Reply(200, b'{"token": "T"}'))
    fake.on("*", "/v2/.*", lambda it: None if "authorization" in it.headers else Reply(401, b"", challenge))
    repository = opened(fake.host, pushing=True, auth=USER)
    repository.mount(digest_of(SMALL), "library/other")
    send(repository, SMALL)
    opened(fake.host, auth=USER).tags()
    scopes = [call.query["scope"] for call in fake.seen("GET", "token")]
    ours = "repository:library/thing:pull,push"
    assert scopes == [[ours, "repository:library/other:pull"], [ours], ["repository:library/thing:pull"]]


def test_a_manifest_arrives(fake, opened):
    data = b'{"schemaVersion": 2}'
    repository = opened(fake.host, pushing=True)
    assert repository.put_manifest("v1", data, OCI) == digest_of(data)
    assert repository.put_manifest(digest_of(data), data, OCI) == digest_of(data)
    assert fake.manifests["library/thing/v1"] == (OCI, data)
    fake.on("PUT", ".*", Reply(201, b"", {"Docker-Content-Digest": digest_of(b"other")}))
    with pytest.raises(DataLoss, match="took the manifest"):
        repository.put_manifest("v1", data, OCI)


def test_a_manifest_that_is_refused(fake, opened):
    fake.on("PUT", ".*", error(400, "MANIFEST_INVALID", "manifest invalid"))
    with pytest.raises(InvalidArgument, match="manifest invalid: manifest invalid"):
        opened(fake.host, pushing=True).put_manifest("v1", b"{}", OCI)


def test_uploads_on_another_host_get_no_credentials(registries, opened):
    fake, storage = registries(), registries()
    basic = "Basic " + base64.b64encode(b"kim:s3cret").decode()
    asking = {"WWW-Authenticate": 'Basic realm="x"'}
    fake.on(
        "*",
        "/v2/.*",
        lambda it: None if it.headers.get("authorization") == basic else Reply(401, b"", asking),
    )
    storage.uploads["u"] = b""
    place = f"{storage.url}/v2/library/thing/blobs/uploads/u?signature=x"
    fake.on("POST", UPLOADS, Reply(202, b"", {"Location": place}))
    send(opened(fake.host, pushing=True, auth=USER), SMALL)
    assert storage.blobs == {digest_of(SMALL): SMALL}
    assert not [call for call in storage.calls if "authorization" in call.headers]
    assert storage.calls[-1].query["signature"] == ["x"]


def test_cve_2019_10214_no_upload_leaves_tls(registries, opened):
    fake, plain = registries(tls=True), registries()
    fake.on("POST", UPLOADS, Reply(202, b"", {"Location": f"{plain.url}/v2/library/thing/blobs/uploads/u"}))
    with pytest.raises(Forbidden, match="leads from https to http://"):
        send(opened(fake.host, pushing=True), SMALL)
    assert not plain.calls


def test_a_push_goes_to_no_mirror(registries, opened, monkeypatch):
    mirror, hub = registries(), registries()
    monkeypatch.setattr("onggi.registry.endpoints.HUB", hub.host)
    insecure = frozenset({"docker.io"})
    repository = opened("docker.io", pushing=True, mirrors=(mirror.url,), insecure_hosts=insecure)
    assert repository.has_blob(digest_of(SMALL)) is None
    send(repository, SMALL)
    repository.put_manifest("latest", b"{}", OCI)
    assert not mirror.calls


def test_cancel_ends_an_upload_that_is_not_taken(opened):
    """The other side reads nothing: the kernel's buffers are full."""
    listener, port = silent_port()
    cancel, sending, over = Cancel(), threading.Event(), threading.Event()

    def serve():
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                head = connection.recv(65536)
                if not head.startswith(b"GET"):
                    continue  # TLS, which this one does not speak
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                connection.recv(65536)
                place = b"/v2/library/thing/blobs/uploads/u"
                connection.sendall(
                    b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nLocation: " + place + b"\r\n\r\n"
                )
                over.wait(60)

    server = threading.Thread(target=serve)
    server.start()
    repository = opened(f"127.0.0.1:{port}", pushing=True, cancel=cancel)
    errors = []

    def push():
        with pytest.raises(OnggiError) as failed:
            repository.upload(
                digest_of(b""), 1 << 30, lambda: io.BytesIO(bytes(32 << 20)), lambda _sent: sending.set()
            )
        errors.append(failed.value)

    thread = threading.Thread(target=push)
    thread.start()
    assert sending.wait(30)
    cancel.set()
    thread.join(30)
    assert not thread.is_alive()
    assert isinstance(errors[0], Cancelled)
    over.set()
    server.join(30)
    listener.close()
