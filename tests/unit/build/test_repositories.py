"""Addresses of repositories: their parts, and what has the shape of an option or leads out."""

import pytest

from onggi.build import remote, repositories
from onggi.errors import InvalidArgument


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("https://h.example/a.git", ("https://h.example/a.git", "", "HEAD", "")),
        ("https://u:p@h.example/a.git#v1.2:sub/dir/", ("https://h.example/a.git", "u:p", "v1.2", "sub/dir")),
        ("github.com/owner/name#main", ("https://github.com/owner/name", "", "main", "")),
        ("git@h.example:o/a.git#v1:d", ("git@h.example:o/a.git", "", "v1", "d")),
        ("ssh://me@h.example:22/~/a", ("ssh://me@h.example:22/~/a", "", "HEAD", "")),
        ("git://h.example:9418/a#:part", ("git://h.example:9418/a", "", "HEAD", "part")),
    ],
)
def test_parts(source, parts):
    assert repositories.parse(source) == parts


@pytest.mark.parametrize(
    "source",
    [
        "https://h.example/a.git#--upload-pack=touch /canary",
        "https://h.example/a.git#-x",
        "https://h.example/a.git#a..b",
        "https://h.example/a.git#main:../../canary",
        "https://h.example/a.git#main:a/../../b",
        "https://-oProxyCommand=x/a.git",
        "https://h.example/-x.git",
        "https://h.example/a b.git",
        "https://h.example/\n.git",
        "git://h.example",
        "https:///a.git",
        "https://h.example/a.git?x=y#z",
        "ext::sh -c touch% /canary",
        "git@-oProxyCommand=x:a",
        "git@h.example:-x",
        "git@h.example:a;touch /canary",
        "git@h.example:$(canary)",
        "ssh://-oProxyCommand=x/a",
        "ssh://-l@h.example/a",
        "ssh://name:word@h.example/a",
        "ssh://h.example/`x`",
    ],
)
def test_refused(source):
    with pytest.raises(InvalidArgument):
        repositories.parse(source)


@pytest.mark.parametrize(
    "source", ["file", "./a.git", "http://h.example/a.tar", "/etc", "file:///a.git", "a#b"]
)
def test_what_is_no_repository(source):
    assert not repositories.is_git(source)


def test_addresses_are_shown_without_names_and_passwords():
    assert remote.shown("https://name:word@h.example:8/a?b#c") == "https://h.example:8/a?b#c"
