"""Addresses of repositories: their parts, and what has the shape of an option or leads out."""

import pytest

from onggi.build import remote, repositories, submodules
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


def listed(*pairs):
    return "".join(f"submodule.{key}\n{value}\0" for key, value in pairs).encode()


def test_submodules_are_read_as_git_lists_them():
    told = listed(
        ("a.b.path", "x/y"), ("a.b.url", "../u"), ("z.path", "z"), ("z.update", "none"), ("q.url", "u")
    )
    assert submodules.modules(told) == [("x/y", "../u")]
    assert submodules.modules(b"") == []
    assert submodules.modules(listed(("m.path", "m\r"), ("m.url", "u"))) == [("m\r", "u")]
    assert submodules.commit(b"160000 commit " + b"a" * 40 + b"\tx/y\0") == "a" * 40
    assert submodules.commit(b"040000 tree " + b"a" * 40 + b"\tx/y\0") == ""


@pytest.mark.parametrize("path", ["../m", "/m", "a//b", "a/./b", ".git/m", "a/.GIT", "m/"])
def test_submodules_go_nowhere_else(path):
    with pytest.raises(InvalidArgument, match="invalid path of a submodule"):
        submodules.modules(listed(("m.path", path), ("m.url", "u")))


def test_what_git_could_not_read():
    with pytest.raises(InvalidArgument, match=r"invalid \.gitmodules: fatal: bad config"):
        submodules.modules(listed(("m.path", "m")) + b"fatal: bad config line 3\n")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("../b.git", "https://h.example/o/b.git"),
        ("./b.git", "https://h.example/o/a.git/b.git"),
        ("../../b.git", "https://h.example/b.git"),
        ("./.././../b.git", "https://h.example/b.git"),
        ("git://other/b", "git://other/b"),
    ],
)
def test_addresses_of_submodules(url, found):
    assert submodules.absolute(url, "https://h.example/o/a.git/") == found


@pytest.mark.parametrize(
    "url", ["../../../b", "../../../../evil.example/b", "", "-u./x", "ext::sh", "/etc", "file:///x"]
)
def test_addresses_of_submodules_that_are_refused(url):
    with pytest.raises(InvalidArgument):
        repositories._address(submodules.absolute(url, "https://h.example/o/a.git"))


def test_files_are_put_into_empty_directories_below(tmp_path):
    for name in ("files", "root/a/empty", "root/full/x", "outside"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root/link").symlink_to(tmp_path / "outside")
    root = str(tmp_path / "root")
    for path in ("link/m", "full", "gone/m", "link"):
        with pytest.raises(InvalidArgument, match="invalid path of a submodule"):
            submodules.put(str(tmp_path / "files"), root, path)
    submodules.put(str(tmp_path / "files"), root, "a/empty")
    assert not (tmp_path / "files").exists()
    assert list((tmp_path / "outside").iterdir()) == []
