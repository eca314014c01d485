"""Log-ins and searches."""

import base64
import json

import pytest
from fake_registry import Reply, silent_port

from onggi.errors import (
    InvalidArgument,
    OnggiError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from onggi.registry import search
from onggi.registry.cancel import Cancel, Cancelled
from onggi.registry.credentials import AuthConfig, Keyring
from onggi.registry.endpoints import Endpoint
from onggi.registry.login import LoggedIn, log_in
from onggi.registry.session import Session
from onggi.registry.settings import Limits, Settings

QUICK = Limits(backoff_s=0.01, connect_s=30, read_s=30)
SETTINGS = Settings(limits=QUICK)


BASIC = "Basic " + base64.b64encode(b"kim:s3cret").decode()


def user(fake, password="s3cret"):
    return AuthConfig(username="kim", password=password, server_address=fake.host)


def test_a_login_with_a_password(fake):
    asking = Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
    fake.on("*", "/v2/.*", lambda call: None if call.headers.get("authorization") == BASIC else asking)
    assert log_in(SETTINGS, user(fake)) == LoggedIn("Login Succeeded", "")
    with pytest.raises(Unauthenticated) as failed:
        log_in(SETTINGS, user(fake, "wrong"))
    assert str(failed.value) == f"login attempt to {fake.url}/v2/ failed with status: 401 Unauthorized"
    with pytest.raises(Unauthenticated) as failed:
        log_in(SETTINGS, AuthConfig(server_address=f"https://{fake.host}/v1/"))
    assert str(failed.value) == f'Get "{fake.url}/v2/": no basic auth credentials'


def test_a_login_with_a_token(fake):
    challenge = {"WWW-Authenticate": f'Bearer realm="{fake.url}/token",service="fake"'}
    fake.on(
        "*",
        "/v2/.*",
        lambda it: None if it.headers.get("authorization") == "Bearer T" else Reply(401, b"", challenge),
    )

    def realm(call):
        if call.headers.get("authorization") != BASIC:
            return Reply(401, b'{"details": "incorrect username or password"}')
        return Reply(200, b'{"token": "T", "refresh_token": "keep-me"}')

    fake.on("GET", "/token", realm)
    assert log_in(SETTINGS, user(fake)) == LoggedIn("Login Succeeded", "keep-me")
    asked = fake.seen("GET", "token")[0].query
    assert asked == {
        "account": ["kim"],
        "client_id": ["docker"],
        "offline_token": ["true"],
        "service": ["fake"],
    }
    with pytest.raises(Unauthenticated) as failed:
        log_in(SETTINGS, user(fake, "wrong"))
    assert str(failed.value) == f'Get "{fake.url}/v2/": unauthorized: incorrect username or password'


def test_a_login_where_nobody_asks(fake):
    assert log_in(SETTINGS, user(fake)).status == "Login Succeeded"


def test_a_login_at_what_is_no_registry(fake):
    fake.on("GET", "/v2/", Reply(404, b"<html>"))
    with pytest.raises(Unavailable, match=r"login attempt to .*/v2/ failed with status: 404 Not Found"):
        log_in(SETTINGS, user(fake))


def test_a_login_at_nothing():
    listener, port = silent_port()
    listener.close()
    with pytest.raises(
        Unavailable, match=f'Get "http://127.0.0.1:{port}/v2/": dial tcp 127.0.0.1:{port}: connect: c'
    ):
        log_in(SETTINGS, AuthConfig(server_address=f"127.0.0.1:{port}"))
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        log_in(SETTINGS, AuthConfig(server_address=f"127.0.0.1:{port}"), cancel)


def test_a_login_at_the_hub_by_default(fake, monkeypatch):
    monkeypatch.setattr("onggi.registry.endpoints.HUB", fake.host)
    settings = Settings(
        limits=QUICK, insecure_hosts=frozenset({"docker.io"}), mirrors=("https://127.0.0.1:1",)
    )
    asking = Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
    fake.on("*", "/v2/.*", lambda call: None if call.headers.get("authorization") == BASIC else asking)
    for address in ("", "https://index.docker.io/v1/", "docker.io"):
        auth = AuthConfig(username="kim", password="s3cret", server_address=address)
        assert log_in(settings, auth).status == "Login Succeeded"


def found(**entry):
    return {"name": "thing", "description": "", "star_count": 3, "is_official": False, **entry}


@pytest.fixture
def session():
    with Session(SETTINGS, Keyring()) as opened_session:
        yield opened_session


def test_a_search(fake, session):
    results = [found(), found(name="x\x1b[31m", description="two\nlines", is_official=True, extra=7)]
    fake.on("GET", "/v1/search", Reply(200, json.dumps({"num_results": 2, "results": results}).encode()))
    got = search.search(session, f"{fake.host}/some/thing", 7)
    assert [(it.name, it.description, it.star_count, it.is_official) for it in got] == [
        ("thing", "", 3, False),
        ("x [31m", "two lines", 3, True),
    ]
    assert fake.seen("GET", "search")[0].query == {"q": ["some/thing"], "n": ["7"]}
    assert len(search.search(session, f"{fake.host}/thing", 1)) == 1


def test_a_search_of_the_hub(fake, session, monkeypatch):
    monkeypatch.setattr(search, "_HUB_INDEX", Endpoint((fake.url,)))
    fake.on("GET", "/v1/search", Reply(200, b'{"results": []}'))
    assert search.search(session, "library/some&thing") == []
    assert fake.seen("GET", "search")[0].query == {"q": ["some&thing"], "n": ["25"]}


def test_registries_without_search(fake, session):
    with pytest.raises(Unsupported, match=f"{fake.host} has no search"):
        search.search(session, f"{fake.host}/thing")
    for body in (b"<html>", b'{"results": [{"name": 7}]}', b'{"results": [{}]}', b"[]", b"{}", b"\xff"):
        fake.scripts.clear()
        fake.on("GET", "/v1/search", Reply(200, body))
        with pytest.raises(Unavailable, match="something else than results"):
            search.search(session, f"{fake.host}/thing")
    fake.scripts.clear()
    fake.on("GET", "/v1/search", Reply(403))
    with pytest.raises(OnggiError, match="Unexpected status code 403"):
        search.search(session, f"{fake.host}/thing")


@pytest.mark.parametrize(("term", "limit"), [("https://x/y", 0), ("", 0), ("x", -1), ("x", 101)])
def test_searches_that_make_no_sense(session, term, limit):
    with pytest.raises(InvalidArgument):
        search.search(session, term, limit)


def test_filters_of_searches():
    chosen = search.filters({"is-official": ["true"], "stars": ["3", "1"]})
    plenty = search.Result("x", star_count=3, is_official=True)
    assert [
        chosen.take(it) for it in (plenty, search.Result("x", "", 2, True), search.Result("x", "", 9))
    ] == [
        True,
        False,
        False,
    ]
    assert search.filters({}).take(search.Result("x"))
    assert not search.filters({"is-automated": ["1"]}).take(plenty)
    for wrong in (
        {"x": ["1"]},
        {"stars": ["many"]},
        {"is-official": ["maybe"]},
        {"is-official": ["true", "false"]},
    ):
        with pytest.raises(InvalidArgument, match="invalid filter"):
            search.filters(wrong)
