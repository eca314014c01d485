"""Where a registry may lead us, and what goes along."""

import base64
import json

import pytest
from fake_registry import Reply, digest_of, error

from onggi.errors import Forbidden, InvalidArgument, OnggiError, Unavailable, Unsupported
from onggi.oci import manifest, reference
from onggi.registry import addresses
from onggi.registry.credentials import AuthConfig

DATA = b"0123456789"
BLOB = digest_of(DATA)
BLOBS = f"/v2/library/thing/blobs/{BLOB}"
USER = AuthConfig(username="kim", password="s3cret")
BASIC = "Basic " + base64.b64encode(b"kim:s3cret").decode()


def read(repository, offset=0):
    with repository.blob(BLOB, offset, len(DATA)) as blob:
        return blob.offset, b"".join(blob.chunks)


def leading_to(fake, target, status=307):
    """A registry that wants a password and leads to a target for its blob."""

    def answer(call):
        if call.headers.get("authorization") != BASIC:
            return error(401, "UNAUTHORIZED", "", {"WWW-Authenticate": 'Basic realm="x"'})
        return Reply(status, b"", {"Location": target}) if "/blobs/" in call.path else None

    fake.on("*", "/v2/.*", answer)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_cve_2020_15157_credentials_stay_when_blobs_are_elsewhere(registries, opened, status):
    fake, storage = registries(), registries()
    storage.on("GET", "/bucket/blob", lambda call: Reply(206, DATA[4:], {"Content-Range": "bytes 4-9/10"}))
    leading_to(fake, f"{storage.url}/bucket/blob?signature=x", status)
    assert read(opened(fake.host, auth=USER), 4) == (4, DATA[4:])
    (call,) = storage.calls
    assert "authorization" not in call.headers
    assert call.headers["range"] == "bytes=4-"
    assert call.query == {"signature": ["x"]}


def test_credentials_go_along_on_the_same_origin(fake, opened):
    leading_to(fake, "/elsewhere/blob")
    fake.on("GET", "/elsewhere/blob", lambda it: Reply(200, DATA) if "authorization" in it.headers else None)
    assert read(opened(fake.host, auth=USER)) == (0, DATA)


def test_credentials_do_not_come_back(registries, opened):
    """A registry, another host, the registry again: what was dropped stays dropped."""
    fake, other = registries(), registries()
    leading_to(fake, f"{other.url}/there")
    other.on("GET", "/there", Reply(302, b"", {"Location": f"{fake.url}/back"}))
    fake.on("GET", "/back", Reply(200, DATA))
    assert read(opened(fake.host, auth=USER)) == (0, DATA)
    assert "authorization" not in fake.seen("GET", "/back")[0].headers


def test_a_challenge_of_another_host_is_not_answered(registries, opened):
    """The registry asks for nothing; where it leads to names itself as the place to send passwords to."""
    fake, other = registries(), registries()
    fake.on("GET", BLOBS, Reply(307, b"", {"Location": f"{other.url}/there"}))
    challenge = f'Bearer realm="{other.url}/token",service="x"'
    other.on("*", "/there", error(401, "UNAUTHORIZED", "", {"WWW-Authenticate": challenge}))
    with pytest.raises(OnggiError, match="authentication required"):
        read(opened(fake.host, auth=USER))
    assert [call.path for call in other.calls] == ["/there"]


def test_cve_2019_10214_tls_is_never_left(registries, opened):
    fake, plain = registries(tls=True), registries()
    plain.on("GET", "/.*", Reply(200, DATA))
    leading_to(fake, f"{plain.url}/blob")
    with pytest.raises(Forbidden, match="leads from https to http://"):
        read(opened(fake.host, auth=USER))
    assert not plain.calls


def test_a_host_without_tls_must_be_named_as_insecure(registries, opened, names):
    fake, storage = registries(), registries()
    storage.on("GET", "/blob", Reply(200, DATA))
    names["storage.example"] = "127.0.0.1"
    leading_to(fake, f"http://storage.example:{storage.port}/blob")
    with pytest.raises(Forbidden, match="not among the insecure-registries"):
        read(opened(fake.host, auth=USER))
    assert not storage.calls
    insecure = frozenset({f"storage.example:{storage.port}"})
    assert read(opened(fake.host, auth=USER, insecure_hosts=insecure)) == (0, DATA)


@pytest.mark.parametrize("target", ["/v2/library/thing/blobs/" + BLOB, "/a"])
def test_going_in_circles_has_an_end(fake, opened, target):
    leading_to(fake, target)
    fake.on("GET", "/a", Reply(302, b"", {"Location": "/b"}))
    fake.on("GET", "/b", Reply(302, b"", {"Location": "/a"}))
    with pytest.raises(Unavailable, match=r"stopped after \d redirects"):
        read(opened(fake.host, auth=USER))
    assert len(fake.calls) < 8


def test_a_long_way_has_an_end(fake, opened):
    leading_to(fake, "/1")
    fake.on("GET", r"/\d+", lambda call: Reply(302, b"", {"Location": f"/{int(call.path[1:]) + 1}"}))
    with pytest.raises(Unavailable, match="stopped after 11 redirects"):
        read(opened(fake.host, auth=USER))


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://h/x", "http://u:p@127.0.0.1/", "http://[::1", "http://h:0/", "http://a b/"],
)
def test_places_that_are_none(fake, opened, target):
    leading_to(fake, target)
    with pytest.raises((InvalidArgument, Forbidden), match="invalid"):
        read(opened(fake.host, auth=USER))


@pytest.fixture
def internet(monkeypatch):
    """127.0.0.1 plays the internet; all else on loopback is private as ever."""
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1" or real(address))


@pytest.mark.parametrize(
    "target", ["http://127.0.0.2:{port}/x", "http://localhost:{port}/x", "http://[::1]:{port}/x"]
)
def test_cve_2026_33990_no_redirect_into_private_networks(registries, opened, internet, target):
    fake, inside = registries(), registries(host="0.0.0.0")
    leading_to(fake, target.format(port=inside.port))
    with pytest.raises(Forbidden, match="a public registry leads to the private address"):
        read(opened(fake.host, auth=USER))
    assert not inside.calls


def test_cve_2026_33990_no_realm_in_private_networks(registries, opened, internet, names):
    fake, inside = registries(), registries(host="127.0.0.2", tls=True)
    names["inside.example"] = "127.0.0.2"
    for host in (inside.host, f"inside.example:{inside.port}", f"localhost:{inside.port}"):
        fake.scripts.clear()
        challenge = f'Bearer realm="https://{host}/latest/meta-data",service="x"'
        fake.on("*", "/v2/.*", error(401, "UNAUTHORIZED", "", {"WWW-Authenticate": challenge}))
        with pytest.raises(Forbidden, match="a public registry leads to the private address"):
            opened(fake.host).resolve()
    assert not inside.calls


def test_cve_2026_33990_the_judged_address_is_the_one_used(registries, opened, names, internet):
    """A name may say one thing to whoever checks it and another one to whoever connects: it is asked once."""
    fake, inside = registries(), registries(host="127.0.0.2")
    names["storage.example"] = "127.0.0.2"
    insecure = frozenset({"storage.example"})
    leading_to(fake, f"http://storage.example:{inside.port}/x")
    with pytest.raises(Forbidden, match=r"private address 127\.0\.0\.2"):
        read(opened(fake.host, auth=USER, insecure_hosts=insecure))
    assert not inside.calls


def test_cve_2026_33990_a_kept_connection_is_judged_too(registries, opened, names, internet):
    """The session talked to the private host before, for somebody who may."""
    fake, inside = registries(), registries(host="127.0.0.2")
    inside.add_blob(DATA)
    names["storage.example"] = "127.0.0.2"
    repository = opened(
        f"storage.example:{inside.port}", auth=USER, insecure_hosts=frozenset({"storage.example"})
    )
    assert read(repository) == (0, DATA)
    session = repository._session
    inside.calls.clear()
    leading_to(fake, f"http://storage.example:{inside.port}/x")
    session._keyring._by_domain[fake.host] = USER
    with pytest.raises(Forbidden, match="private address"):
        read(session.repository(reference.parse(f"{fake.host}/library/thing")))
    assert not inside.calls


def test_a_private_registry_may_lead_to_its_neighbour(registries, opened):
    fake, storage = registries(), registries(host="127.0.0.2")
    storage.on("GET", "/blob", Reply(200, DATA))
    leading_to(fake, f"{storage.url}/blob")
    assert read(opened(fake.host, auth=USER)) == (0, DATA)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
    ],
)
def test_which_addresses_are_the_internets(address, public):
    assert addresses.is_public(address) is public


def test_cve_2020_15157_foreign_layers_are_not_fetched():
    layer = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": BLOB,
        "size": 10,
        "urls": ["https://attacker.example/layer"],
    }
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": BLOB, "size": 10}
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": config,
    }
    for kind in (layer["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip"):
        data = json.dumps({**document, "layers": [{**layer, "mediaType": kind}]}).encode()
        with pytest.raises(Unsupported, match="foreign layer"):
            manifest.check_image(manifest.parse(data))


def test_a_signature_is_in_no_message(registries, opened):
    fake, storage = registries(), registries()
    storage.on("GET", "/blob", Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0"))
    leading_to(fake, f"{storage.url}/blob?X-Signature=s3cret")
    with pytest.raises(Unavailable) as failed:
        read(opened(fake.host, auth=USER))
    assert "s3cret" not in str(failed.value)
