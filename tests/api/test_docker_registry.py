"""Our client of the distribution protocol against a registry that nobody here wrote."""

import contextlib
import hashlib
import io
import json
import random
import threading

import pytest

from docker_registry import Cutter, DockerRegistry
from onggi.errors import InvalidArgument, NotFound, OnggiError, Unauthenticated, Unsupported
from onggi.oci import reference
from onggi.registry import search
from onggi.registry.cancel import Cancel, Cancelled
from onggi.registry.credentials import AuthConfig, Keyring
from onggi.registry.failures import Unreachable
from onggi.registry.login import log_in
from onggi.registry.session import Session
from onggi.registry.settings import Limits, Settings

OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}'
SMALL = b"small layer"
LARGE = random.Random(1).randbytes(12 << 20)
KIM = AuthConfig(username="kim", password="s3cret")
SETTINGS = Settings(limits=Limits(backoff_s=0.05))


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(kind, data):
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}


def manifest_of(*layers):
    config = descriptor("application/vnd.oci.image.config.v1+json", CONFIG)
    listed = [descriptor(LAYER, layer) for layer in layers]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": listed}).encode()


@pytest.fixture(scope="module")
def registries(tmp_path_factory):
    """A function that starts a registry, or gives the one that was started with these options."""
    running = {}

    def start(**options):
        key = tuple(sorted(options.items()))
        if key not in running:
            running[key] = DockerRegistry(tmp_path_factory.mktemp("registry") / "r", **options)
        return running[key]

    yield start
    for registry in running.values():
        registry.close()


@pytest.fixture(params=["plain", "tls", "relative"])
def registry(registries, request):
    return registries(**({} if request.param == "plain" else {request.param: True}))


@pytest.fixture
def opened():
    with contextlib.ExitStack() as stack:

        def open_repository(registry, name, *, auth=None, settings=SETTINGS, cancel=None, pushing=True):
            keyring = Keyring({registry.host: auth}) if auth else None
            session = stack.enter_context(Session(settings, keyring))
            return session.repository(reference.parse(f"{registry.host}/{name}"), cancel, pushing=pushing)

        yield open_repository


def send(repository, data, progress=None):
    repository.upload(digest_of(data), len(data), lambda: io.BytesIO(data), progress)


def read(repository, data, offset=0):
    with repository.blob(digest_of(data), offset, len(data)) as blob:
        return blob.offset, b"".join(blob.chunks)


def push_image(repository, tag, *layers):
    for data in (CONFIG, *layers):
        send(repository, data)
    return repository.put_manifest(tag, manifest_of(*layers), OCI)


def test_an_image_there_and_back(registry, opened):
    pushing = opened(registry, "some/thing")
    assert pushing.has_blob(digest_of(LARGE)) is None
    heard = []
    send(pushing, LARGE, heard.append)
    assert heard[-1] == len(LARGE)
    digest = push_image(pushing, "v1", SMALL, b"")
    assert digest == digest_of(manifest_of(SMALL, b""))
    pulling = opened(registry, "some/thing:v1", pushing=False)
    fetched = pulling.resolve()
    assert (fetched.digest, fetched.data, fetched.media_type) == (digest, manifest_of(SMALL, b""), OCI)
    assert pulling.resolve(digest) == fetched
    assert pulling.has_blob(digest_of(LARGE)) == len(LARGE)
    for data in (LARGE, SMALL, b"", CONFIG):
        assert read(pulling, data) == (0, data)
    assert read(pulling, LARGE, 5_000_000) == (5_000_000, LARGE[5_000_000:])
    assert read(pulling, SMALL, len(SMALL)) == (0, SMALL)


def test_an_index_and_tags(registry, opened):
    repository = opened(registry, "with/index")
    entry = descriptor(OCI, manifest_of(SMALL)) | {"platform": {"os": "linux", "architecture": "amd64"}}
    for tag in ("a", "b", digest_of(manifest_of(SMALL))):
        push_image(repository, tag, SMALL)
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    assert repository.put_manifest("latest", index, INDEX) == digest_of(index)
    assert repository.resolve("latest").media_type == INDEX
    assert sorted(repository.tags()) == ["a", "b", "latest"]
    assert repository.current("a") == digest_of(manifest_of(SMALL))


def test_a_mount(registry, opened):
    send(opened(registry, "mount/source"), LARGE)
    target = opened(registry, "mount/target")
    assert target.mount(digest_of(LARGE), "mount/source")
    assert target.has_blob(digest_of(LARGE)) == len(LARGE)
    missing = b"not there yet"
    assert not target.mount(digest_of(missing), "mount/source")
    send(target, missing)
    assert read(target, missing) == (0, missing)


def test_words_of_what_is_not_there(registry, opened):
    push_image(opened(registry, "some/image"), "v1", SMALL)
    there = opened(registry, "some/image:v2", pushing=False)
    with pytest.raises(NotFound) as failed:
        there.resolve()
    told = f"manifest for {registry.host}/some/image:v2 not found: manifest unknown: manifest unknown"
    assert str(failed.value) == told
    with pytest.raises(NotFound, match="blob unknown: blob unknown to registry"):
        read(there, b"absent")
    nowhere = opened(registry, "no/where", pushing=False)
    with pytest.raises(NotFound, match=f"^repository {registry.host}/no/where not found: name unknown: "):
        nowhere.tags()
    with pytest.raises(OnggiError, match="blob unknown to registry"):
        opened(registry, "no/where").put_manifest("v1", manifest_of(b"absent"), OCI)
    with pytest.raises(InvalidArgument, match="digest invalid: provided digest did not match"):
        opened(registry, "no/where").upload(digest_of(b"other"), len(SMALL), lambda: io.BytesIO(SMALL))


def test_passwords(registries, opened):
    registry = registries(passwords=True)
    push_image(opened(registry, "secret/thing", auth=KIM), "v1", SMALL)
    assert opened(registry, "secret/thing:v1", auth=KIM, pushing=False).resolve()
    with pytest.raises(Unauthenticated, match="no basic auth credentials"):
        opened(registry, "secret/thing:v1", pushing=False).resolve()
    wrong = AuthConfig(username="kim", password="wrong")
    for attempt in (
        lambda: opened(registry, "secret/thing:v1", auth=wrong, pushing=False).resolve(),
        lambda: send(opened(registry, "secret/thing", auth=wrong), SMALL),
    ):
        with pytest.raises(Unauthenticated, match=r"^unauthorized: authentication required$"):
            attempt()


def test_logins(registries):
    registry = registries(passwords=True)
    auth = AuthConfig(username="kim", password="s3cret", server_address=registry.host)
    assert log_in(SETTINGS, auth).status == "Login Succeeded"
    with pytest.raises(Unauthenticated, match="failed with status: 401 Unauthorized"):
        log_in(SETTINGS, AuthConfig(username="kim", password="no", server_address=registry.host))


def test_a_registry_that_must_prove_itself(registries, opened, monkeypatch):
    registry = registries(tls=True)
    monkeypatch.setattr("onggi.registry.settings._LOOPBACK", ())
    with pytest.raises(Unreachable, match="certificate signed by unknown authority"):
        opened(registry, "some/thing", pushing=False).resolve()
    with pytest.raises(Unreachable, match="server gave HTTP response to HTTPS client"):
        opened(registries(), "some/thing", pushing=False).resolve()


def test_no_search(registries):
    with Session(SETTINGS) as session, pytest.raises(Unsupported, match="has no search"):
        search.search(session, f"{registries().host}/thing")


@pytest.mark.parametrize("options", [{}, {"relative": True}], ids=["absolute", "relative"])
def test_an_upload_that_is_cut_arrives(registries, opened, options):
    """This registry refuses to say where a cut upload stands ("resumed at wrong offset"): it begins again."""
    cutter = Cutter(registries(**options).port, [3_000_000, 2_000_000, 100_000])
    name = f"cut/{'relative' if options else 'absolute'}"
    try:
        send(opened(cutter, name), LARGE)
        assert cutter.budgets == []
        assert read(opened(cutter, name, pushing=False), LARGE) == (0, LARGE)
    finally:
        cutter.close()


def test_cancel_in_the_midst_of_a_blob(registries, opened):
    registry, cancel = registries(), Cancel()
    send(opened(registry, "cancel/thing"), LARGE)
    repository = opened(registry, "cancel/thing", cancel=cancel, pushing=False)
    with repository.blob(digest_of(LARGE)) as blob:
        assert next(blob.chunks) == LARGE[: 512 << 10]
        thread = threading.Thread(target=cancel.set)
        thread.start()
        thread.join(30)
        with pytest.raises(Cancelled):
            next(blob.chunks)
