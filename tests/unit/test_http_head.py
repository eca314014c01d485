"""Request heads: what is answered from memory is checked, shared by nobody, and holds no credential."""

import pytest

from onggi.api.http import message
from onggi.api.http.message import HeadError, parse_head

HEAD = b"POST /v1.51/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: keep-alive\r\n%b\r\n"


def remembered():
    return message._remembered.cache_info().currsize


def test_a_repeated_head_is_a_head_of_its_own():
    first, second = parse_head(HEAD % b""), parse_head(HEAD % b"")
    first.headers["host"] = "changed"
    assert first.decoder.feed(b"abc") == ([b"abc"], b"")
    assert second.headers == {"host": "h", "content-length": "3", "connection": "keep-alive"}
    assert second.decoder.feed(b"abcd") == ([b"abc"], b"d")
    assert second.keep_alive


@pytest.mark.parametrize(
    "line",
    [b"X-Registry-Auth: eyJ\r\n", b"authorization: Basic eA==\r\n", b"X-Long: " + b"a" * 600 + b"\r\n"],
)
def test_credentials_and_long_heads_are_not_kept(line):
    before = remembered()
    assert parse_head(HEAD % line).method == "POST"
    assert remembered() == before


def test_a_bad_head_is_refused_each_time():
    for _ in range(2):
        with pytest.raises(HeadError):
            parse_head(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n")


def test_a_whole_address_is_asked_for_by_its_path():
    """As a proxy does."""
    assert (
        parse_head(b"GET HTTP://d:1/v1.44/info?a=b HTTP/1.1\r\nHost: d\r\n\r\n").target == "/v1.44/info?a=b"
    )
    assert parse_head(b"GET /x?http://d/y HTTP/1.1\r\nHost: d\r\n\r\n").target == "/x?http://d/y"


@pytest.mark.parametrize(
    ("asked", "target"),
    [("http://d", "/"), ("http://d:1/", "/"), ("http://d?a=/b", "/?a=/b"), ("http://d//x", "//x")],
)
def test_a_whole_address_without_a_path_is_the_root(asked, target):
    assert parse_head(f"GET {asked} HTTP/1.1\r\nHost: d\r\n\r\n".encode()).target == target


def test_a_refusal_shows_no_types():
    with pytest.raises(HeadError, match=r"illegal request line: b'hello'$"):
        parse_head(b"hello\r\n\r\n")
