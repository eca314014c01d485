import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import InvalidArgument, Unsupported
from onggi.oci import patterns, platform, reference

OS = (
    "OSAndVersion specifier component must match "
    r'''"^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.%-]*)((?:\\+[A-Za-z0-9_.%-]+)*)\\))?$"'''
)
WORD = 'platform specifier component must match "^[A-Za-z0-9_.-]+$"'
CASES = [
    ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("busybox:1", "docker.io/library/busybox:1", "busybox:1"),
    ("a/b", "docker.io/a/b:latest", "a/b:latest"),
    ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
    ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
    ("host:5000", "docker.io/library/host:5000", "host:5000"),
    ("ghcr.io/a/b-c_d.e:V1.x", "ghcr.io/a/b-c_d.e:V1.x", "ghcr.io/a/b-c_d.e:V1.x"),
    ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
    ("x@sha256:" + "a" * 64, "docker.io/library/x@sha256:" + "a" * 64, "x@sha256:" + "a" * 64),
    ("Host/x", "Host/x:latest", "Host/x:latest"),
    (
        "host.example/" + "x" * 255,
        "host.example/" + "x" * 255 + ":latest",
        "host.example/" + "x" * 255 + ":latest",
    ),
]


@pytest.mark.parametrize(("text", "canonical", "familiar"), CASES)
def test_normalises_as_docker(text, canonical, familiar):
    parsed = reference.parse(text).with_default_tag()
    assert (str(parsed), parsed.familiar) == (canonical, familiar)
    assert reference.parse(parsed.familiar) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":x",
        "a//b",
        "-a",
        "a..b",
        "a:",
        "a@sha256:12",
        "UPPER",
        "a/B",
        "a b",
        "a\n",
        "../x",
        "a" * 64,
        "é",
        "x:" + "t" * 129,
        "x" * 256,
    ],
)
def test_refuses_what_docker_refuses(text):
    with pytest.raises(InvalidArgument):
        reference.parse(text)


def test_upper_case_has_its_own_sentence():
    with pytest.raises(InvalidArgument, match=r"repository name \(library/Busybox\) must be lowercase"):
        reference.parse("Busybox")


@pytest.mark.parametrize(
    ("pattern", "takes"),
    [
        ("busybox", True),
        ("busybox:latest", True),
        ("busy*", True),
        ("*:lat*", True),
        ("a/*", False),
        ("b[ux]sybox", True),
        ("?", False),
    ],
)
def test_reference_filter(pattern, takes):
    assert patterns.matches(pattern, reference.parse("busybox:latest")) is takes


def test_star_stops_at_slash():
    assert not patterns.matches("*", reference.parse("a/b:c"))
    assert patterns.matches("*/*", reference.parse("a/b:c"))


def test_platforms():
    assert str(platform.parse("linux/arm64/v8")) == "linux/arm64/v8"
    assert str(platform.parse("linux/x86_64")) == "linux/amd64"
    assert str(platform.parse("linux/arm/7")) == str(platform.parse("linux/armhf/v7")) == "linux/arm/v7"
    assert str(platform.parse("armel")) == "linux/arm/v6"
    assert str(platform.parse("linux/armhf")) == str(platform.parse("armhf")) == "linux/arm"
    assert str(platform.parse("linux/amd64/v1")) == "linux/amd64"
    assert platform.parse("arm64").architecture == "arm64"
    assert platform.parse("linux").os == "linux"
    assert platform.parse("macos").os == platform.parse("macOS/arm64").os == "darwin"
    for wrong, words in (
        ("linux/*", '"linux/*": wildcards not yet supported: invalid argument'),
        ("a/b/c/d", '"a/b/c/d": cannot parse platform specifier: invalid argument'),
        ("nosuch", '"nosuch": unknown operating system or architecture: invalid argument'),
        ("/", rf'"" is an invalid OS component of "/": {OS}: invalid argument'),
        ("linux/", rf'"" is an invalid component of "linux/": {WORD}: invalid argument'),
    ):  # fmt: skip
        with pytest.raises(InvalidArgument, match=re.escape(words) + "$"):
            platform.parse(wrong)
    with pytest.raises(Unsupported):
        platform.parse("windows(10.0)/amd64")


@given(st.text(max_size=300) | st.from_regex(r"[a-zA-Z0-9._:/@\[\]-]{0,80}", fullmatch=True))
def test_any_text_is_a_reference_or_refused(text):
    try:
        parsed = reference.parse(text)
    except InvalidArgument:
        return
    # What was taken is plain ASCII that can stand in a URL or a path, and means the same when written out.
    assert str(parsed).isascii()
    assert str(parsed).isprintable()
    assert not {"..", "."} & set(parsed.path.split("/"))
    assert not set(str(parsed)) & set(" %?#\\&\"'")
    assert reference.parse(str(parsed)) == parsed
    assert reference.parse(parsed.familiar) == parsed


@pytest.mark.parametrize(
    "text", [f"x@sha256:{'a' * 63}", "x@sha256:", "x@../../y", f"x@sha256:{'g' * 64}", "x@"]
)
def test_cve_2024_3727_malformed_digests_are_no_references(text):
    with pytest.raises(InvalidArgument):
        reference.parse(text)


def test_a_reference_is_parsed_in_linear_time():
    for text in ("a-" * 100_000, "a" * 200_000 + "!", "a." * 100_000 + "/", "a/" * 100_000 + "@"):
        with pytest.raises(InvalidArgument):
            reference.parse(text)
