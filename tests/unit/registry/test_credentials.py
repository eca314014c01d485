"""X-Registry-Auth and X-Registry-Config, as clients write them and as they should not."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import InvalidArgument
from onggi.registry import credentials
from onggi.registry.credentials import AuthConfig, Keyring


def header(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


def test_a_user():
    document = {"username": "kim", "password": "pä?>", "email": "", "serveraddress": "x"}
    auth = credentials.decode(header(document))
    assert auth == AuthConfig(username="kim", password="pä?>", server_address="x")
    assert base64.b64decode(auth.basic.removeprefix("Basic ")).decode() == "kim:pä?>"
    assert auth


@pytest.mark.parametrize("text", ["", "e30=", "e30", base64.b64encode(b"null").decode(), header({})])
def test_nobody(text):
    assert not credentials.decode(text)
    assert credentials.for_registry(text, "docker.io").of("docker.io") is None


def test_all_ways_to_write_it():
    document = {"username": "a", "password": "?" * 20 + ">" * 20}
    for encode in (base64.urlsafe_b64encode, base64.b64encode):
        text = encode(json.dumps(document).encode()).decode()
        assert credentials.decode(text).password == document["password"]
        assert credentials.decode(text.rstrip("=")).password == document["password"]
    pair = base64.b64encode(b"a:b:c").decode()
    assert credentials.decode(header({"auth": pair})) == AuthConfig(username="a", password="b:c")
    assert credentials.decode(header({"identitytoken": "t"})).identity_token == "t"
    assert credentials.decode(header({"registrytoken": "t.t"})).registry_token == "t.t"
    assert credentials.decode(header({"username": "a", "password": None, "email": None})).username == "a"


NO_JSON = [
    "placeholder",
    "%%%",
    "a",
    "ä",
    "A" * 100_000,
    *(base64.b64encode(it).decode() for it in [b"{", b"[" * 9999]),
]


@pytest.mark.parametrize("text", NO_JSON)
def test_a_header_without_json_is_nobody_for_one_registry_and_refused_for_many(text):
    assert credentials.decode(text) == AuthConfig()
    with pytest.raises(InvalidArgument, match="expected base64url of JSON"):
        credentials.for_registries(text)


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(b"[]").decode(),
        header({"username": 7}),
        header({"username": ["secret"]}),
        header({"username": "a\r\nHost: x"}),
        header({"username": "a:b", "password": "secret"}),
        header({"password": "secret\0"}),
        header({"registrytoken": "secret secret"}),
        header({"auth": "secret"}),
        header({"auth": base64.b64encode(b"secret").decode()}),
        header({"username": "secret" * 10_000}),
    ],
)
def test_what_is_wrong_is_refused_without_repeating_it(text):
    with pytest.raises(InvalidArgument) as failed:
        credentials.decode(text)
    assert "secret" not in str(failed.value)


def test_secrets_are_not_shown():
    auth = AuthConfig(username="kim", password="s3cret", identity_token="s3cret", server_address="x")
    assert "s3cret" not in f"{auth!r} {auth}"


HUBS = ["docker.io", "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io"]


@pytest.mark.parametrize("address", HUBS)
def test_the_hub_has_many_addresses(address):
    assert credentials.domain_of(address) == "docker.io"
    keyring = credentials.for_registry(header({"username": "a", "serveraddress": address}), "docker.io")
    assert keyring.of("docker.io").username == "a"


def test_cve_2021_41092_credentials_of_another_registry_are_refused():
    text = header({"username": "a", "password": "b", "serveraddress": "https://private.example/v1/"})
    assert credentials.for_registry(text, "private.example").of("private.example")
    for other in ("docker.io", "evil.example", "private.example:5000"):
        with pytest.raises(InvalidArgument, match=f"are for private.example, not for {other}"):
            credentials.for_registry(text, other)


def test_cve_2021_41092_each_registry_gets_its_own():
    hub, other = {"username": "hub"}, {"username": "other"}
    text = header({"https://index.docker.io/v1/": hub, "Other.example:5000": other})
    keyring = credentials.for_registries(text)
    assert keyring.of("docker.io").username == "hub"
    assert keyring.of("other.example:5000").username == "other"
    for other in ("other.example", "example", "evil.example", ""):
        assert keyring.of(other) is None
    assert Keyring().of("docker.io") is None


@pytest.mark.parametrize("document", [[], {"x": 7}, {"x": {"username": 7}}])
def test_lists_of_registries_that_are_wrong(document):
    with pytest.raises(InvalidArgument):
        credentials.for_registries(header(document))


MEMBERS = st.sampled_from(["username", "password", "auth", "identitytoken", "registrytoken", "x"])
DOCUMENTS = st.recursive(st.none() | st.text() | st.integers(), lambda it: st.dictionaries(MEMBERS, it))


@given(st.text(max_size=100) | DOCUMENTS.map(header))
def test_any_header_is_read_or_refused(text):
    for read in (credentials.decode, credentials.for_registries):
        try:
            read(text)
        except InvalidArgument as error:
            assert str(error).startswith("invalid ")  # noqa: PT017
