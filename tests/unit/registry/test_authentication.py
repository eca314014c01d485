"""Who gets the credentials, and how tokens are bought with them."""

import base64
import json
import threading
from urllib.parse import parse_qs

import pytest
from fake_registry import Reply, error

from onggi.errors import Forbidden, InvalidArgument, NotFound, Unauthenticated, Unavailable
from onggi.registry import tokens
from onggi.registry.credentials import AuthConfig

MANIFESTS = "/v2/library/thing/manifests/.*"
USER = AuthConfig(username="kim", password="s3cret")
BASIC = "Basic " + base64.b64encode(b"kim:s3cret").decode()
ASKING = {"WWW-Authenticate": 'Basic realm="here"'}
SCOPE = "repository:library/thing:pull"


def guarded_by_token(fake, realm, accepted=("Bearer T",), **more):
    """Make a fake want a token of ``realm`` for everything."""
    extra = "".join(f',{name}="{value}"' for name, value in more.items())
    challenge = f'Bearer realm="{realm}",service="fake"{extra}'

    def check(call):
        if call.path.startswith("/token") or call.headers.get("authorization") in accepted:
            return None
        return error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})

    fake.on("*", "/v2/.*", check)


def token_reply(**document):
    return Reply(200, json.dumps(document or {"token": "T"}).encode(), {"Content-Type": "application/json"})


@pytest.fixture
def token_fake(fake):
    """A registry with its own realm; the image is there."""
    fake.add_image("library/thing", [b"layer"])
    guarded_by_token(fake, f"{fake.url}/token")
    return fake


def test_a_password_for_a_registry_that_wants_one(fake, opened):
    fake.add_image("library/thing", [b"layer"])
    fake.on(
        "*",
        "/v2/.*",
        lambda it: None if it.headers.get("authorization") == BASIC else Reply(401, b"", ASKING),
    )
    opened(fake.host, auth=USER).resolve()
    with pytest.raises(Unauthenticated) as failed:
        opened(fake.host).resolve()
    assert str(failed.value) == f'Get "{fake.url}/v2/": no basic auth credentials'
    with pytest.raises(Unauthenticated, match="unauthorized: authentication required"):
        opened(fake.host, auth=AuthConfig(username="kim", password="wrong")).resolve()


def test_a_password_is_not_shown_before_it_is_asked_for(fake, opened):
    fake.add_image("library/thing", [b"layer"])
    opened(fake.host, auth=USER).resolve()
    assert not [call for call in fake.calls if "authorization" in call.headers]


def test_an_anonymous_token(token_fake, opened):
    token_fake.on("GET", "/token", token_reply())
    opened(token_fake.host).resolve()
    (asked,) = token_fake.seen("GET", "token")
    assert asked.query == {"service": ["fake"], "scope": [SCOPE]}
    assert "authorization" not in asked.headers


def test_a_token_for_a_user(token_fake, opened):
    token_fake.on("GET", "/token", token_reply(access_token="T"))
    opened(token_fake.host, auth=USER).resolve()
    (asked,) = token_fake.seen("GET", "token")
    assert asked.query == {"service": ["fake"], "scope": [SCOPE], "account": ["kim"]}
    assert asked.headers["authorization"] == BASIC
    # The password itself went to the realm alone.
    sent = {call.headers.get("authorization") for call in token_fake.calls if "/v2/" in call.path}
    assert sent == {None, "Bearer T"}


def test_an_identity_token(token_fake, opened):
    token_fake.on("POST", "/token", token_reply(access_token="T", expires_in=300))
    opened(token_fake.host, auth=AuthConfig(identity_token="long&lived")).resolve()
    (asked,) = token_fake.seen("POST", "token")
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["long&lived"],
        "client_id": ["docker"],
        "service": ["fake"],
        "scope": [SCOPE],
    }
    assert "authorization" not in asked.headers


def test_a_realm_that_only_takes_forms(token_fake, opened):
    token_fake.on("GET", "/token", Reply(405))
    token_fake.on("POST", "/token", token_reply(access_token="T"))
    opened(token_fake.host, auth=USER).resolve()
    (asked,) = token_fake.seen("POST", "token")
    form = parse_qs(asked.body.decode())
    assert (form["grant_type"], form["username"], form["password"]) == (["password"], ["kim"], ["s3cret"])


def test_a_token_that_is_there_already(token_fake, opened):
    opened(token_fake.host, auth=AuthConfig(registry_token="T")).resolve()
    assert not token_fake.seen("*", "token")


def test_a_choice_of_proofs(fake, opened):
    """Several challenges in one line or in several; the token is preferred."""
    fake.add_image("library/thing", [b"layer"])
    fake.on("GET", "/token", token_reply())
    challenge = f'Basic realm="a, b=\\"c\\"", Bearer realm="{fake.url}/token",service="fake"'
    taken = "Bearer T"
    fake.on(
        "*",
        "/v2/.*",
        lambda it: (
            None
            if it.headers.get("authorization") == taken
            else Reply(401, b"", {"WWW-Authenticate": challenge})
        ),
    )
    opened(fake.host, auth=USER).resolve()


def test_a_token_is_bought_once(token_fake, opened):
    token_fake.on("GET", "/token", token_reply())
    repository = opened(token_fake.host)
    threads = [threading.Thread(target=repository.resolve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    repository.resolve()
    assert len(token_fake.seen("GET", "token")) == 1
    assert len(token_fake.seen("GET", "manifests")) == 9


def test_a_token_is_not_used_beyond_its_time(token_fake, opened, monkeypatch):
    token_fake.on("GET", "/token", token_reply(token="T", expires_in=100))
    repository = opened(token_fake.host)
    repository.resolve()
    now = tokens.time.monotonic()
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now + 80)
    repository.resolve()
    assert len(token_fake.seen("GET", "token")) == 1
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now + 95)
    repository.resolve()
    assert len(token_fake.seen("GET", "token")) == 2


def test_a_token_that_the_registry_forgot_is_bought_again(fake, opened):
    fake.add_image("library/thing", [b"layer"])
    count = iter(range(1, 100))
    fake.on("GET", "/token", lambda _call: token_reply(token=f"T{next(count)}"))
    accepted = ["Bearer T1"]
    guarded_by_token(fake, f"{fake.url}/token", accepted)
    repository = opened(fake.host)
    repository.resolve()
    accepted[:] = ["Bearer T2"]
    repository.resolve()
    accepted[:] = []
    fake.calls.clear()
    with pytest.raises(Unauthenticated, match="unauthorized: authentication required"):
        repository.resolve()
    assert len(fake.seen("GET", "manifests")) == 2  # once with what was there, once freshly proven


def test_a_repository_that_is_not_ours(fake, opened):
    """The hub's way to say it: a token is given, and does not suffice."""
    fake.on("GET", "/token", token_reply())
    guarded_by_token(fake, f"{fake.url}/token", (), error="insufficient_scope")
    with pytest.raises(NotFound) as failed:
        opened(fake.host).resolve()
    assert str(failed.value) == (
        f"pull access denied for {fake.host}/library/thing, repository does not exist or may require "
        "'docker login': denied: requested access to the resource is denied"
    )


@pytest.mark.parametrize(
    "body",
    [
        {"details": "incorrect username or password"},
        {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]},
    ],
)
def test_a_wrong_password_at_the_realm(token_fake, opened, body):
    token_fake.on("GET", "/token", Reply(401, json.dumps(body).encode()))
    with pytest.raises(Unauthenticated, match=r"^unauthorized: incorrect username or password$"):
        opened(token_fake.host, auth=USER).resolve()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"token": 7}',
        b'{"token": "a b"}',
        b'{"token": "a\\r\\nX: y"}',
        b"[" * 9999,
    ],
)
def test_a_realm_without_a_token(token_fake, opened, body):
    token_fake.on("GET", "/token", Reply(200, body))
    with pytest.raises(Unavailable, match="answered without"):
        opened(token_fake.host).resolve()


def test_a_realm_with_troubles_is_asked_again(token_fake, opened):
    troubles = iter([Reply(503), Reply(raw=b"")])
    token_fake.on("GET", "/token", lambda _call: next(troubles, token_reply()))
    opened(token_fake.host).resolve()


def test_a_realm_may_be_on_another_host_over_tls(registries, opened, strict, trusting):
    fake, realm = registries(), registries(tls=True)
    fake.add_image("library/thing", [b"layer"])
    where = f"localhost:{realm.port}"
    guarded_by_token(fake, f"https://{where}/token?a=b")
    realm.on("GET", "/token", token_reply())
    directories = trusting(where)
    insecure = frozenset({fake.host})
    opened(fake.host, auth=USER, cert_dirs=directories, insecure_hosts=insecure).resolve()
    (asked,) = realm.seen("GET", "token")
    assert asked.headers["authorization"] == BASIC
    assert asked.query["a"] == ["b"]


@pytest.mark.parametrize("realm", ["http://localhost:{port}/token", "http://127.0.0.2:{port}/token"])
def test_cve_2019_10214_no_password_for_a_realm_without_tls(registries, opened, realm):
    fake, other = registries(), registries(host="0.0.0.0")
    guarded_by_token(fake, realm.format(port=other.port))
    with pytest.raises(Forbidden, match="for its tokens, which has no TLS: refused"):
        opened(fake.host, auth=USER).resolve()
    assert not other.calls


def test_a_registry_with_tls_names_no_realm_without(registries, opened):
    fake, plain = registries(tls=True), registries()
    guarded_by_token(fake, f"{plain.url}/token")
    with pytest.raises(Forbidden, match="has no TLS: refused"):
        opened(fake.host, auth=USER).resolve()
    assert not plain.calls


@pytest.mark.parametrize(
    "realm",
    ["", "file:///etc/passwd", "https://", "https://u:p@h/", "//h/t", "gopher://h/", "https://h:0/", "x y"],
)
def test_realms_that_are_none(fake, opened, realm):
    guarded_by_token(fake, realm)
    with pytest.raises((InvalidArgument, Unauthenticated), match=r"invalid realm|authentication required"):
        opened(fake.host, auth=USER).resolve()


def test_an_identity_token_is_not_carried_along_a_redirect(registries, opened):
    fake, other = registries(), registries()
    guarded_by_token(fake, f"{fake.url}/token")
    fake.on("POST", "/token", Reply(302, b"", {"Location": f"{other.url}/token"}))
    with pytest.raises(Unavailable, match="unexpected redirect"):
        opened(fake.host, auth=AuthConfig(identity_token="secret")).resolve()
    fake.scripts.clear()
    guarded_by_token(fake, f"{fake.url}/token")
    fake.on("POST", "/token", Reply(307, b"", {"Location": f"{other.url}/token"}))
    with pytest.raises(Unavailable, match="unexpected redirect"):
        opened(fake.host, auth=AuthConfig(identity_token="secret")).resolve()
    assert not other.calls


def test_a_password_is_not_for_mirrors(registries, opened, monkeypatch):
    mirror, hub = registries(), registries()
    monkeypatch.setattr("onggi.registry.endpoints.HUB", hub.host)
    hub.add_image("library/thing", [b"layer"])
    for each in (mirror, hub):
        each.on("*", "/v2/.*", lambda it: None if "authorization" in it.headers else Reply(401, b"", ASKING))
    insecure = frozenset({"docker.io"})
    opened("docker.io", auth=USER, mirrors=(mirror.url,), insecure_hosts=insecure).resolve()
    assert mirror.calls
    assert not [call for call in mirror.calls if "authorization" in call.headers]
    assert hub.calls[-1].headers["authorization"] == BASIC
