"""Names, options and filters of volumes, in docker's words."""

import pytest

from onggi.errors import InvalidArgument, Unsupported
from onggi.volumes import filters, options
from onggi.volumes.model import ANONYMOUS, Volume, Wish, as_json, check_name, make
from onggi.volumes.options import Source

WRONG_NAMES = ["", "x", "-x", ".x", "a/b", "a b", "ä1", "../x", "a\n", "x" * 256]


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_names_that_are_none(name):
    with pytest.raises(InvalidArgument, match="create"):
        check_name(name)


@pytest.mark.parametrize("name", ["ab", "a.", "a_b-c.d", "0" * 64, "x" * 255])
def test_names(name):
    check_name(name)


def test_a_made_up_name_is_labelled():
    volume = make(Wish(labels={"a": "b"}))
    assert (len(volume.name), volume.labels) == (64, {"a": "b", ANONYMOUS: ""})
    assert make(Wish(name="mine")).labels is None


def test_dockers_shape():
    volume = Volume(name="mine", created_ns=1_000_000_000)
    assert as_json(volume, "/there") == {
        "CreatedAt": "1970-01-01T00:00:01Z",
        "Driver": "local",
        "Labels": None,
        "Mountpoint": "/there",
        "Name": "mine",
        "Options": None,
        "Scope": "local",
    }


WRONG_OPTIONS = [
    ({"what": "x"}, 'invalid option: "what"'),
    ({"type": "tmpfs"}, 'missing required option: "device"'),
    ({"device": "/x"}, 'missing required option: "type"'),
    ({"o": "ro"}, 'missing required option: "device"'),
    ({"size": "1m"}, "quota size requested but no quota support"),
    ({"size": "much"}, "invalid size: 'much'"),
    ({"type": "none", "o": "bind", "device": "here"}, "must be an absolute path"),
    ({"type": "cifs", "o": "", "device": "//host:445/x"}, "port not allowed in CIFS device URL"),
]


@pytest.mark.parametrize(("given", "words"), WRONG_OPTIONS)
def test_wrong_options(given, words):
    with pytest.raises(InvalidArgument, match=words):
        options.check(given)


def test_what_a_bind_cannot_is_refused_by_name():
    with pytest.raises(Unsupported, match="uid=5"):
        options.check({"type": "none", "o": "bind,uid=5", "device": "/x"})


@pytest.mark.parametrize(
    ("given", "source"),
    [
        (None, Source("/d")),
        ({"size": "0"}, Source("/d")),
        ({"type": "none", "o": "bind", "device": "/x"}, Source("/x", recursive=False)),
        ({"type": "none", "o": "rbind,ro", "device": "/x"}, Source("/x", options=("ro",))),
        (
            {"type": "tmpfs", "o": "size=1m,ro", "device": "t"},
            Source("t", "tmpfs", ("size=1m", "ro"), place="/d"),
        ),
        (
            {"type": "nfs", "o": "addr=192.0.2.1", "device": ":/e"},
            Source(":/e", "nfs", ("addr=192.0.2.1",), place="/d"),
        ),
    ],
)
def test_what_options_make(given, source):
    options.check(given or {})
    assert options.source(given, "/d") == source


def test_only_servers_names_are_looked_up():
    assert options.resolved(Source(":/e", "nfs", ("addr=127.0.0.1", "ro"))).options == (
        "addr=127.0.0.1",
        "ro",
    )
    assert options.resolved(Source("t", "tmpfs", ("addr=nowhere",))).options == ("addr=nowhere",)
    with pytest.raises(InvalidArgument, match="error resolving passed in network volume address"):
        options.resolved(Source(":/e", "nfs", ("addr=-",)))


VOLUME = Volume(name="data-1", created_ns=1, labels={"a": "b"})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, True),
        ({"name": ["data"]}, True),
        ({"name": ["^data-[0-9]$"]}, True),
        ({"name": ["other", "data"]}, True),
        ({"name": ["other"]}, False),
        ({"name": ["(("]}, False),
        ({"driver": ["local"]}, True),
        ({"driver": ["other"]}, False),
        ({"label": ["a"]}, True),
        ({"label": ["a=b", "c"]}, False),
        ({"label!": ["a=c"]}, True),
        ({"label!": ["a"]}, False),
    ],
)
def test_filters(given, expected):
    assert filters.wanted(VOLUME, given) is expected


def test_prune_takes_made_up_names_and_nothing_from_elsewhere():
    anonymous, elsewhere = make(Wish()), make(Wish(options={"type": "tmpfs", "device": "tmpfs"}))
    assert not filters.prunable(VOLUME, {})
    assert filters.prunable(VOLUME, {"all": ["1"]})
    assert filters.prunable(anonymous, {"all": ["false"]})
    assert not filters.prunable(elsewhere, {"all": ["true"]})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"all": ["maybe"]}, "invalid filter 'all': strconv.ParseBool: parsing \"maybe\": invalid syntax"),
        ({"all": ["1", "0"]}, "invalid filter 'all=[1 0]': only one value is expected"),
        ({"name": ["x"]}, "invalid filter 'name'"),
    ],
)
def test_wrong_filters_of_prune(given, words):
    with pytest.raises(InvalidArgument) as refused:
        filters.check_prune(given)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dangling": ["maybe"]}, "invalid filter 'dangling=[maybe]'"),
        ({"dangling": ["1", "0"]}, "invalid filter 'dangling=[1 0]'"),
        ({"label!": ["x"]}, "invalid filter 'label!'"),
        ({"what": ["x"]}, "invalid filter 'what'"),
    ],
)
def test_wrong_filters_of_list(given, words):
    with pytest.raises(InvalidArgument) as refused:
        filters.check_list(given)
    assert str(refused.value) == words
