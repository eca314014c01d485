"""JSON bodies of requests: what dockerd reads and what it says, as its own integration tests expect it."""

import pytest

from onggi.api.http.json import decode
from onggi.errors import InvalidArgument

KEY = "looking for beginning of object key string"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{invalid json", f"invalid JSON: invalid character 'i' {KEY}"),
        (b'{"a":1,}', f"invalid JSON: invalid character '}}' {KEY}"),
        (b"{} trailing content", "unexpected content after JSON"),
        (b'{"a" 1}', "invalid JSON: invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid JSON: invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid JSON: invalid character '2' after array element"),
        (b"[1,]", "invalid JSON: invalid character ']' looking for beginning of value"),
        (b'{"a":x}', "invalid JSON: invalid character 'x' looking for beginning of value"),
        (b"\xff", r"invalid JSON: invalid character '\xff' looking for beginning of value"),
        (b'{"a":', "invalid JSON: unexpected EOF"),
        (b" ", "invalid JSON: got EOF while reading request body"),
        (b"[" * 100_000, "invalid JSON: nested too deeply"),
    ],
)
def test_what_is_malformed_is_told_in_gos_words(body, words):
    with pytest.raises(InvalidArgument) as told:
        decode(body)
    assert str(told.value) == words


def test_what_is_no_utf8_is_replaced():
    assert decode(b'{"a":"\xff"}') == {"a": "\ufffd"}
