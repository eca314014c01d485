import pytest

from onggi.errors import Conflict, InvalidArgument
from onggi.images import changes, removal, views
from onggi.oci.image import Image

CASES = [
    ('CMD ["a", "b"]', {"Cmd": ["a", "b"]}),
    ("cmd echo $HOME", {"Cmd": ["/bin/sh", "-c", "echo $HOME"]}),
    ("ENV A=1 B=\"two words\" C='$A'", {"Env": ["A=1", "B=two words", "C=$A"]}),
    ("ENV A some words", {"Env": ["A=some words"]}),
    ('LABEL a.b=c onggi.runtime=x d="e f"', {"Labels": {"a.b": "c", "d": "e f"}}),
    ("EXPOSE 80 53/udp", {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
    ("USER 1000:1000", {"User": "1000:1000"}),
    ('VOLUME ["/a", "/b c"]', {"Volumes": {"/a": {}, "/b c": {}}}),
    ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}),
    ("WORKDIR a/../b", {"WorkingDir": "/b"}),
    ("WORKDIR a b", {"WorkingDir": "/a b"}),
    ("STOPSIGNAL SIGINT", {"StopSignal": "SIGINT"}),
    ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}),
    ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
    (
        "HEALTHCHECK --interval=1m30s --retries=2 CMD curl x",
        {"Healthcheck": {"Interval": 90 * 10**9, "Retries": 2, "Test": ["CMD-SHELL", "curl x"]}},
    ),
]


@pytest.mark.parametrize(("line", "config"), CASES)
def test_each_instruction(line, config):
    assert changes.apply({}, [line]) == config


def test_order_and_variables():
    lines = ["ENV A=1", "ENV B=${A}x C=$NONE", "WORKDIR /w", "WORKDIR sub", 'ENTRYPOINT ["e"]']
    config = changes.apply({"Cmd": ["old"]}, lines)
    assert config == {"Env": ["A=1", "B=1x", "C="], "WorkingDir": "/w/sub", "Entrypoint": ["e"]}


@pytest.mark.parametrize(
    ("line", "health"),
    [
        ("HEALTHCHECK CMD new", {"Test": ["CMD-SHELL", "new"], "Interval": 5, "Retries": 4}),
        ("HEALTHCHECK --retries=2 CMD new", {"Test": ["CMD-SHELL", "new"], "Interval": 5, "Retries": 2}),
        ("HEALTHCHECK --retries=0 NONE", {"Test": ["NONE"], "Interval": 5, "Retries": 4}),
    ],
)
def test_a_health_check_keeps_what_is_not_said(line, health):
    config = {"Healthcheck": {"Test": ["CMD", "old"], "Interval": 5, "Retries": 4}}
    assert changes.apply(config, [line]) == {"Healthcheck": health}


def test_the_shell_is_that_of_the_container():
    config = {"Shell": ["/bin/bash", "-c"]}
    assert changes.apply(config, ["CMD a b"]) == config | {"Cmd": ["/bin/bash", "-c", "a b"]}


def test_an_empty_entrypoint_changes_nothing():
    config = {"Entrypoint": ["e"], "Cmd": ["c"]}
    assert changes.apply(config, ["ENTRYPOINT []"]) == config


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RUN x", "RUN is not a valid change command"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("EXPOSE 99999", "invalid containerPort: 99999"),
        ("STOPSIGNAL bogus", "^invalid signal: bogus$"),
        ("LABEL a='x", "unexpected end of statement while looking for matching single-quote"),
        ("CMD [1]", "arrays must be comprised of strings only"),
        ("HEALTHCHECK WHAT x", 'Unknown type "WHAT" in HEALTHCHECK'),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --what=1 CMD x", "unknown flag: --what$"),
        ("HEALTHCHECK --retries=-1 CMD x", r"--retries cannot be negative \(-1\)"),
        ("HEALTHCHECK --retries=x CMD x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("HEALTHCHECK --interval=1 CMD x", "invalid duration"),
        ("ONBUILD FROM x", "isn't allowed as an ONBUILD trigger"),
    ],
)
def test_refusals(line, words):
    with pytest.raises(InvalidArgument, match=words):
        changes.apply({}, [line])


D1, D2 = ("@sha256:" + letter * 64 for letter in "12")


def image(*tags, created="2024-01-01T00:00:00.123456789Z", labels=None, digests=()):
    config = {"config": {"Labels": labels or {}}}
    return Image("sha256:" + "ab" * 32, config, list(tags), 1, created, [], digests=list(digests))


def test_removal_rules():
    one, two = image("a:latest"), image("a:latest", "b:latest")
    assert removal.plan(two, "a", [], force=False) == removal.Plan(["a:latest"])
    assert removal.plan(one, "a", [], force=False) == removal.Plan(["a:latest"], one.id)
    assert removal.plan(one, "abab", [("c" * 64, False)], force=True) == removal.Plan(["a:latest"], one.id)
    assert removal.plan(one, "a", [("c" * 64, True)], force=True) == removal.Plan(["a:latest"])


def test_digests_go_with_the_last_tag_of_their_repository():
    one = image("a:1", digests=["a" + D1])
    assert removal.plan(one, "a:1", [], force=False) == removal.Plan(["a:1", "a" + D1], one.id)
    assert removal.plan(one, "abab", [], force=False) == removal.Plan(["a:1", "a" + D1], one.id)
    assert removal.plan(one, "a" + D1, [], force=False) == removal.Plan(["a" + D1])
    two = image("a:1", "a:2", digests=["a" + D1])
    assert removal.plan(two, "a:1", [], force=False) == removal.Plan(["a:1"])
    other = image("a:1", digests=["a" + D1, "b" + D2])
    assert removal.plan(other, "a:1", [], force=False) == removal.Plan(["a:1", "a" + D1])
    with pytest.raises(Conflict, match="multiple repositories"):
        removal.plan(other, "abab", [], force=False)
    bare = image(digests=["a" + D1])
    assert removal.plan(bare, "a" + D1, [], force=False) == removal.Plan(["a" + D1], bare.id)


@pytest.mark.parametrize(
    ("tags", "ref", "users", "force", "words"),
    [
        (
            ["a:1", "b:1"],
            "abab",
            [],
            False,
            r"\(must be forced\) - image is referenced in multiple repositories",
        ),
        (
            ["a:1"],
            "abab",
            [("c" * 64, True)],
            True,
            r"\(cannot be forced\) - image is being used by running container c{12}",
        ),
        (
            ["a:1"],
            "abab",
            [("c" * 64, False)],
            False,
            r"\(must be forced\) - image is being used by stopped container",
        ),
        (
            ["a:1"],
            "a:1",
            [("c" * 64, False)],
            False,
            r'repository reference "a:1" \(must force\) - container c{12} is using',
        ),
    ],
)
def test_removal_conflicts(tags, ref, users, force, words):
    with pytest.raises(Conflict, match=words):
        removal.plan(image(*tags), ref, users, force=force)


def test_filters():
    subject = image("a:1", labels={"k": "v"})

    def takes(**asked):
        filters = views.filters(asked, lambda ref: image(created="2024-06-01T00:00:00Z"))
        return all(it(subject) for it in filters)

    assert takes(label=["k"])
    assert takes(label=["k=v"])
    assert not takes(label=["k=w"])
    assert takes(dangling=["false"])
    assert not takes(dangling=["true"])
    assert takes(before=["x"])
    assert not takes(since=["x"])
    assert takes(reference=["a"])
    assert not takes(reference=["b*"])
    assert takes(until=["1h"])
    assert not takes(until=["2020-01-01"])
    assert takes(until=["1h30m"])
    with pytest.raises(InvalidArgument, match='failed to parse value as time or duration: "x"'):
        takes(until=["x"])
    with pytest.raises(InvalidArgument, match="invalid filter 'nope'"):
        takes(nope=["x"])


def test_created_is_read_with_nanoseconds():
    assert views.epoch("2024-01-01T00:00:00.123456789Z") == 1704067200
    assert views.epoch("2024-01-01T00:00:00Z") == 1704067200
    assert views.epoch("") == 0
