"""Variables in words: forms, modifiers, quotes, errors, and patterns that cannot be made slow."""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.archive.patterns import Matcher
from onggi.dockerfile import substitution
from onggi.dockerfile.expansion import Mode, expand
from onggi.errors import InvalidArgument

VALUES = {"a": "one", "empty": "", "path": "/usr/lib/x.tar.gz", "two": "b  c", "n": "x\ny"}

CASES = [
    ("$a-${a}", "one-one"),
    ("${none}$none.", "."),
    ("$", "$"),
    ("a$ b", "a$ b"),
    ("\\$a '$a' \"$a\"", "$a $a one"),
    ('"\\$a\\b"', "$a\\b"),
    ("$1x", "x"),
    ("${a:-d}${empty:-d}${empty-d}${none:-d}${none-d}", "oneddd"),
    ("${a:+d}${empty:+d}${empty+d}${none:+d}${none+d}", "dd"),
    ("${a:?m}${a?m}${empty?m}", "oneone"),
    ("${none:-${a}}${none:-'}'}", "one}"),
    ("${path#*/}", "usr/lib/x.tar.gz"),
    ("${path##*/}", "x.tar.gz"),
    ("${path%.*}", "/usr/lib/x.tar"),
    ("${path%%.*}", "/usr/lib/x"),
    ("${path#usr}", "/usr/lib/x.tar.gz"),
    ("${path/lib/share}", "/usr/share/x.tar.gz"),
    ("${path//\\//-}", "-usr-lib-x.tar.gz"),
    ("${path/.*/}", "/usr/lib/x"),
    ("${path//?/.}", "." * 17),
    ("${a//*/x}", "x"),
    ("${n##*}", "\ny"),
    ("${none/a/b}${none#x}", ""),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_expands(text, expected):
    assert expand(text, VALUES).text == expected


def test_another_escape():
    assert expand("`$a\\$a", VALUES, "`").text == "$a\\one"


def test_says_what_had_a_value_and_what_had_none():
    result = expand("$a ${none:-$other}", VALUES)
    assert (result.used, result.missing) == ({"a"}, {"none", "other"})


def test_splits_what_variables_bring_but_not_quotes():
    assert expand('$two "$two" x\\ y', VALUES).words == ("b", "c", "b  c", "x y")


def test_quotes_can_be_plain_text():
    assert expand("""it's "$a" <<x""", VALUES, mode=Mode(plain_quotes=True)).text == """it's "one" <<x"""


ERRORS = [
    ("'a", "looking for matching single-quote"),
    ('"a', "looking for matching double-quote"),
    ("${a", "syntax error: missing '}'"),
    ("${", "syntax error: missing '}'"),
    ("${a:-", "syntax error: missing '}'"),
    ("${a/b", r"syntax error: missing '/' in \$\{\}"),
    ("${}", "bad substitution"),
    ("${a:b}", r"unsupported modifier \(:b\) in substitution"),
    ("${a:#b}", r"unsupported modifier \(:#\) in substitution"),
    ("${a!}", r"unsupported modifier \(!\) in substitution"),
    ("${none:?give one}", 'failed to process ".*": none: give one'),
    ("${none?}", "none: is not allowed to be unset"),
    ("${empty:?}", "empty: is not allowed to be empty"),
    ("${a#\\x}", "invalid escape"),
    ("${a:-" * 100, "more than 64 variables within one another"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_refuses(text, message):
    with pytest.raises(InvalidArgument, match=message):
        expand(text, VALUES)


WORDS = st.text("ab*?\n", max_size=12)


@given(WORDS, st.text("ab\n", max_size=16))
def test_patterns_match_as_regular_expressions_do(pattern, text):
    lazy, greedy = (
        "".join({"*": star, "?": "."}.get(c) or re.escape(c) for c in pattern) for star in (".*?", ".*")
    )
    found = list(Matcher(substitution.parse(pattern)).ends(text))
    short, long = re.match(lazy, text), re.match(greedy, text)
    assert found[:1] == ([short.end()] if short else [])
    assert found[-1:] == ([long.end()] if long else [])
    assert substitution.replace(pattern, "-", text, every=False) == re.sub(greedy, "-", text, count=1)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=12))
def test_the_longest_prefix_that_matches_everything_leaves_nothing(pattern, text):
    if fnmatch.fnmatchcase(text, pattern):
        assert substitution.cut_prefix(pattern, text, longest=True) == ""
        assert substitution.cut_suffix(pattern, text, longest=True) == ""


def test_many_stars_cost_no_more_than_their_number():
    # By backtracking this would not end in a lifetime.
    assert substitution.cut_prefix("*a" * 50 + "*b", "a" * 5000, longest=True) == "a" * 5000


@given(st.text("ab${}:-+?#%/'\"\\<* \n", max_size=40))
def test_any_text_expands_or_is_refused(text):
    try:
        expand(text, {"a": "b*?", "b": ""})
    except InvalidArgument:
        return
