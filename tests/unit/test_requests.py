"""Whatever a client of whatever version sends: a body or a refusal is made of it, never an accident."""

import contextlib
import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onggi.api.query import Query
from onggi.api.requests import create_warnings, shape_create, shape_exec, shape_update
from onggi.errors import InvalidArgument

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def either(sound):
    return sound | ANY


MOUNT = st.fixed_dictionaries(
    {
        "Type": either(st.sampled_from(["bind", "volume", "image", "tmpfs"])),
        "BindOptions": either(st.just({"ReadOnlyForceRecursive": True, "NonRecursive": True})),
        "VolumeOptions": either(st.just({"Subpath": "a"})),
    }
)
HOST = st.fixed_dictionaries(
    {
        "NetworkMode": either(st.sampled_from(["", "bridge", "none", "container:x"])),
        "Sysctls": either(st.just({"net.ipv4.conf.eth0.forwarding": "1", "net.core.somaxconn": "1"})),
        "Mounts": either(st.lists(either(MOUNT), max_size=2)),
    }
)
NETWORKING = st.fixed_dictionaries({"EndpointsConfig": either(st.dictionaries(st.just("bridge"), ANY))})
BODY = st.fixed_dictionaries(
    {"HostConfig": either(HOST), "NetworkingConfig": either(NETWORKING), "Healthcheck": ANY, "Runtime": ANY}
)
VERSION = st.integers(24, 51).map(lambda minor: (1, minor))


@settings(max_examples=400)
@given(either(BODY), VERSION)
def test_no_body_is_an_accident(body, version):
    for shape in (shape_exec, shape_update):
        shape(copy.deepcopy(body), version)
    create_warnings(body, version)
    with contextlib.suppress(InvalidArgument):
        shape_create(body, version)


def test_the_environment_of_an_exec_is_older_than_its_documentation():
    asked = {"Env": ["A=1"], "ConsoleSize": [1, 2]}
    assert shape_exec(asked, (1, 24)) == {"Env": ["A=1"]}


def test_settings_of_the_first_interface():
    sysctls = {"net.ipv4.conf.eth0.forwarding": "1", "net.ipv4.conf.all.forwarding": "0"}
    body = {"HostConfig": {"Sysctls": dict(sysctls), "NetworkMode": "mine"}}
    shaped = shape_create(copy.deepcopy(body), (1, 47))
    assert shaped["HostConfig"]["Sysctls"] == {"net.ipv4.conf.all.forwarding": "0"}
    options = shaped["NetworkingConfig"]["EndpointsConfig"]["mine"]["DriverOpts"]
    assert options == {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.forwarding=1"}
    with pytest.raises(InvalidArgument, match=r"net\.ipv4\.conf\.eth0\.forwarding"):
        shape_create(body, (1, 48))


@pytest.mark.parametrize("mode", ["host", "none", "container:a"])
def test_an_old_mac_address_needs_an_interface(mode):
    body = {"Image": "a", "MacAddress": "92:d0:c6:0a:29:33", "HostConfig": {"NetworkMode": mode}}
    with pytest.raises(InvalidArgument, match="conflicting options: mac-address and the network mode"):
        shape_create(copy.deepcopy(body), (1, 43))
    shape_create(body, (1, 44))  # says only that the field is old
    shape_create({**body, "HostConfig": {"NetworkMode": "bridge"}}, (1, 43))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("all=%zz", 'invalid URL escape "%zz"'),
        ("x=1&a%4=1", 'invalid URL escape "%4"'),
        ("all=%", 'invalid URL escape "%"'),
        ("all=1;x=%zz", "invalid semicolon separator in query"),
    ],
)
def test_queries_that_go_does_not_read(text, words):
    with pytest.raises(InvalidArgument) as refused:
        Query(text)
    assert str(refused.value) == words


def test_a_query():
    query = Query("a=%3b+%26&b=1&&a=2")
    assert (query.all("a"), query.flag("b")) == (["; &", "2"], True)
