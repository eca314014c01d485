"""Ignore files: docker's patterns, their order, directories, and patterns that cannot be made slow."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.archive import ignore, patterns
from onggi.errors import InvalidArgument

# Lines of a file, what is ignored, what is not.
CASES = [
    ("a", "a a/b a/b/c", "b ab b/a"),
    ("/a/", "a a/b", "b/a"),
    ("./a/../b", "b", "a"),
    ("*", "a a/b .c", ""),
    ("*.c", "x.c .c", "d/x.c x.cc"),
    ("**/*.c", "x.c d/x.c d/e/x.c .c", "x.h"),
    ("a/*/c", "a/b/c a/b/c/d", "a/c a/b/d/c"),
    ("a/**", "a/b a/b/c", "a b"),
    ("a**", "a ab a/b", "b"),
    ("**", "a a/b", ""),
    ("**/a", "a b/a b/c/a/d", "ba b/ab"),
    ("**a", "a b/a ba b/ca", "c b/ac"),
    ("a/**/b", "a/b a/x/b a/x/y/b", "ab a/xb"),
    ("a**b", "ab ax/b", "axb"),
    ("?", "a é", "ab a\n/b"),
    ("[a-c]x", "ax cx", "dx x"),
    ("[^a-c]x", "dx", "ax"),
    (r"\*", "*", "a"),
    (r"a\b", "ab", r"a\b"),
    ("a.b+(c)|$", "a.b+(c)|$", "axb+(c)|$"),
    ("# a\n\n  b  \n#c", "b", "a #c"),
    ("*\n!a", "b b/a", "a a/b"),
    ("*.md\n!README*.md\nREADME-secret.md", "x.md README-secret.md", "README.md README-x.md"),
    ("*.md\n!README.md\n*.md", "README.md", "x"),
    ("a\n!a/b", "a a/c", "a/b a/b/c"),
    ("a\n!a/b\na/b/c", "a/b/c", "a/b a/b/d"),
    ("!a", "", "a b"),
    ("**/node_modules\n!keep/**", "x/node_modules/y node_modules", "keep/node_modules"),
    ("a\n! /b/", "a", "b"),
    ("\ufeffa", "a", ""),
    ("..", "", "a"),
]


@pytest.mark.parametrize(("text", "inside", "outside"), CASES, ids=[text for text, _, _ in CASES])
def test_decides_as_docker(text, inside, outside):
    rules = ignore.Ignored(ignore.read(text.encode()))
    assert [path for path in inside.split(" ") if path and path not in rules] == []
    assert [path for path in outside.split(" ") if path and path in rules] == []


def test_never_ignores_everything_at_once():
    assert "" not in ignore.Ignored(["*", "**", "."])


BAD = ["[", "[]", "[a", "[-a]", "[a-]", "[^]", "a\\"]


@pytest.mark.parametrize("pattern", BAD)
def test_refuses_bad_patterns(pattern):
    with pytest.raises(InvalidArgument, match=r"syntax error in pattern: "):
        ignore.Ignored([pattern])


def test_refuses_a_mark_without_pattern():
    with pytest.raises(InvalidArgument, match='illegal exclusion pattern: "!"'):
        ignore.Ignored(ignore.read(b"!"))


REACH = [
    (["*"], "a", False),
    (["*", "!b/c"], "a", False),
    (["*", "!a/c"], "a", True),
    (["*", "!ab"], "a", False),
    (["*", "!**/x"], "a", True),
    (["*", "!a*/x"], "ab", True),
    (["*", "!b*/x"], "ab", False),
    (["*", "!a/b/*"], "a", True),
]


@pytest.mark.parametrize(("lines", "directory", "expected"), REACH)
def test_knows_whether_to_look_into_an_ignored_directory(lines, directory, expected):
    assert ignore.Ignored(lines).may_keep_in(directory) == expected


PATTERNS = st.lists(
    st.sampled_from(["a", "b", "*", "**", "/", "?", "[ab]", "[^a]", "\\*", "**/"]), min_size=1, max_size=7
)
PATHS = st.lists(st.sampled_from(["a", "b", "/", "*"]), min_size=1, max_size=8).map("".join)


@given(PATTERNS.map("".join), PATHS)
def test_both_ways_to_match_agree(pattern, path):
    parts = list(ignore._parts(pattern))
    expression = re.compile("".join(part.expression for part in parts), re.DOTALL)
    matcher = patterns.Matcher([token for part in parts for token in part.tokens])
    assert matcher.fullmatch(path) == bool(expression.fullmatch(path))


@given(
    st.lists(st.sampled_from(["a", "!a", "a/b", "!a/b", "*", "!**/b", "b*", "!b/a/**"]), max_size=5), PATHS
)
def test_a_walk_decides_as_a_path_alone(lines, path):
    rules = ignore.Ignored(lines)
    path = path.strip("/").replace("//", "/")
    above = rules.inside("")
    names = path.split("/")
    for count in range(1, len(names)):
        directory = "/".join(names[:count])
        if rules.ignores(directory, above) and not rules.may_keep_in(directory):
            assert path in rules
            return
        above = rules.inside(directory, above)
    assert rules.ignores(path, above) == (path in rules)


@given(st.binary(max_size=60))
def test_any_file_is_read_or_refused(data):
    try:
        assert "a/b" in (rules := ignore.Ignored(ignore.read(data))) or rules is not None
    except InvalidArgument:
        return


def test_many_stars_cost_no_more_than_their_number():
    # By backtracking this would not end in a lifetime.
    rules = ignore.Ignored(["*a" * 40 + "b", "**/a/" * 40 + "b"])
    assert "a" * 3000 not in rules
    assert "a/" * 1000 + "c" not in rules
