"""What a tag stands for now, and every tag of a repository, page by page."""

import json

import pytest
from fake_registry import Reply, error

from onggi.errors import DataLoss, Forbidden, InvalidArgument, NotFound
from onggi.registry import listing

TAGS = "/v2/library/thing/tags/list"


def page(tags, link=""):
    return Reply(200, json.dumps({"name": "x", "tags": tags}).encode(), {"Link": link} if link else {})


def test_a_tag_by_head(fake, opened):
    digest = fake.add_image("library/thing", [b"layer"])
    assert opened(fake.host).current("latest") == digest
    assert [call.method for call in fake.calls if "manifests" in call.path] == ["HEAD"]
    with pytest.raises(NotFound):
        opened(fake.host).current("other")


@pytest.mark.parametrize("told", ["", "nonsense", "sha512:" + "a" * 128])
def test_a_tag_where_head_does_not_say(fake, opened, told):
    digest = fake.add_image("library/thing", [b"layer"])
    fake.on("HEAD", ".*manifests.*", Reply(200, b"", {"Docker-Content-Digest": told} if told else {}))
    assert opened(fake.host).current("latest") == digest


@pytest.mark.parametrize("link", ['</v2/library/thing/tags/list?last=b>; rel="next"', "<?last=b>;rel=next"])
def test_tags_of_all_pages(fake, opened, link):
    fake.on("GET", TAGS, lambda call: page(["c"]) if "last" in call.query else page(["a", "b"], link))
    assert list(opened(fake.host).tags()) == ["a", "b", "c"]
    assert fake.seen("GET", TAGS)[0].query == {"n": ["1000"]}


def test_no_tags(fake, opened):
    fake.on("GET", TAGS, page(None))
    assert list(opened(fake.host).tags()) == []


def test_tags_of_nothing(fake, opened):
    fake.on("GET", TAGS, error(404, "NAME_UNKNOWN", "M"))
    with pytest.raises(NotFound, match=r"repository .* not found"):
        opened(fake.host).tags()


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'{"tags":"a"}', b'{"tags":[1]}', b"[" * 100_000, b"\xff", b'{"tags":["../x"]}'],
    ids=range(7),
)
def test_what_is_no_list(fake, opened, body):
    fake.on("GET", TAGS, Reply(200, body))
    with pytest.raises(DataLoss, match="not the list asked for"):
        opened(fake.host).tags()


def test_a_list_without_end(fake, opened):
    fake.on("GET", TAGS, page(["a"], '<?n=1000>; rel="next"'))
    with pytest.raises(DataLoss, match="has no end"):
        opened(fake.host).tags()


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/v2/x/tags/list", "http://example.org/"])
def test_a_list_that_goes_on_elsewhere(fake, opened, target):
    """R11: the next page is asked for with credentials, so that it must be the same registry's."""
    fake.on("GET", TAGS, page(["a"], f'<{target}>; rel="next"'))
    with pytest.raises((DataLoss, Forbidden), match="elsewhere"):
        opened(fake.host).tags()


@pytest.mark.parametrize(
    ("link", "further"),
    [
        ("", ""),
        ("</a>", ""),
        ('</a>; rel="prev"', ""),
        ('</a>; rel="next"', "/a"),
        ("</a>; rel=next", "/a"),
        ('</a>;rel="last next"', "/a"),
        ('</a>; rel="prev", </b>; REL="NEXT"', "/b"),
        ('</a>; title="rel=next"', ""),
        ('</a>; title="x, </b>; rel=next"', ""),
        ("</a>; rel=nextish", ""),
        ("<" * 10_000, ""),
        ("</a>" + "; x" * 5_000, ""),
        ("</a>" + " " * 10_000 + ";" * 5_000, ""),
    ],
)
def test_links(link, further):
    assert listing.following(link) == further


def test_referrers(fake, opened):
    digest = "sha256:" + "a" * 64
    entry = {
        "mediaType": "m",
        "digest": digest,
        "size": 9,
        "artifactType": "t",
        "annotations": {"k": "v"},
        "x": 1,
    }
    pages = {"0": ([entry], '<?last=1>; rel="next"'), "1": ([entry | {"artifactType": ""}], "")}

    def answer(call):
        entries, link = pages[call.query.get("last", ["0"])[0]]
        return Reply(200, json.dumps({"manifests": entries}).encode(), {"Link": link} if link else {})

    fake.on("GET", "/v2/library/thing/referrers/.*", answer)
    found = opened(fake.host).referrers(digest)
    assert [(it.digest, it.size, it.artifact_type) for it in found] == [(digest, 9, "t"), (digest, 9, "")]
    assert found[0].annotations == {"k": "v"}


def test_referrers_that_are_none(fake, opened):
    digest = "sha256:" + "a" * 64
    with pytest.raises(NotFound):
        opened(fake.host).referrers(digest)
    wrong = {"manifests": [{"mediaType": "m", "digest": "sha256:../x", "size": 1}]}
    fake.on("GET", ".*referrers.*", Reply(200, json.dumps(wrong).encode()))
    with pytest.raises(DataLoss, match="not the list asked for"):
        opened(fake.host).referrers(digest)
    with pytest.raises(InvalidArgument, match="invalid digest"):
        opened(fake.host).referrers("../x")
