"""The grammar of WWW-Authenticate."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onggi.registry.challenges import Challenge, parse

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", []),
        (" , ,", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a"', [("basic", {"realm": "a"})]),
        ('BASIC ReAlM = "a"', [("basic", {"realm": "a"})]),
        ("Bearer realm=a,service=b", [("bearer", {"realm": "a", "service": "b"})]),
        (
            HUB,
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ('Basic realm="a", Bearer realm="b"', [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        ('Basic, Bearer realm="b"', [("basic", {}), ("bearer", {"realm": "b"})]),
        ('Negotiate, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Negotiate YWJj=, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Basic realm="a \\"b\\" \\\\c, d=e"', [("basic", {"realm": 'a "b" \\c, d=e'})]),
        (',, Basic realm="a" , ,charset=UTF-8', [("basic", {"realm": "a", "charset": "UTF-8"})]),
        ('Basic realm="never ends', []),
        ('Basic realm="a" b="c"', []),
        ('Basic realm="a", realm="b"', []),  # ambiguous
        ('Bearer realm="a",realm="b", Basic realm="c"', [("basic", {"realm": "c"})]),
        ('"', []),
        ("=", []),
        ("a" * 20_000, []),
    ],
)
def test_lines(line, found):
    assert parse([line]) == [Challenge(scheme, parameters) for scheme, parameters in found]


def test_several_lines_and_their_bounds():
    assert [it.scheme for it in parse(["Basic realm=x", "Bearer realm=y"])] == ["basic", "bearer"]
    assert len(parse([", ".join(["Basic realm=x"] * 100)] * 3)) == 16


TOKENS = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,10}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)


def written(challenge):
    scheme, parameters = challenge
    escaped = {name: re.sub(r'(["\\])', r"\\\1", it) for name, it in parameters.items()}
    return f"{scheme} " + ",".join(f'{name}="{it}"' for name, it in escaped.items())


PARAMETERS = st.dictionaries(TOKENS.map(str.lower), VALUES, min_size=1, max_size=4)


@settings(max_examples=40)  # text of a pattern is dear
@given(st.lists(st.tuples(TOKENS, PARAMETERS), max_size=4))
def test_what_is_written_by_the_grammar_is_read(challenges):
    line = ", ".join(map(written, challenges))
    assert parse([line]) == [Challenge(scheme.lower(), parameters) for scheme, parameters in challenges]


@given(st.text(max_size=200) | st.text('Basicrealm="\\, \t=', max_size=60))
def test_any_text_is_read_without_an_error(text):
    for challenge in parse([text]):
        assert challenge.scheme
        assert challenge.scheme in text.lower()


def test_long_lines_are_read_in_linear_time():
    for piece in (",", "a=", "\\", "a , ", " ", "a=b,", 'a="b" ', "\t"):
        parse([piece * 4_000, "Basic " + piece * 4_000, 'Basic a="' + piece * 4_000])
