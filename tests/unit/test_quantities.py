"""Durations and sizes, as docker's libraries take them."""

import pytest

from onggi import quantities
from onggi.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "base", "found"),
    [
        ("512", 1024, 512), ("1.5k", 1024, 1536), ("64m", 1024, 64 << 20), ("1 GiB", 1024, 1 << 30),
        ("1 GB", 1000, 10**9), (".5t", 1000, 5 * 10**11), ("2.b", 1024, 2),
    ],
)  # fmt: skip
def test_sizes(text, base, found):
    assert quantities.size(text, base) == found


@pytest.mark.parametrize("text", ["", "much", "-1", "1mi", "1kk", "1  k", "9" * 41])
def test_what_is_no_size(text):
    with pytest.raises(InvalidArgument, match=f"^invalid size: '{text[:40]}'$"):
        quantities.size(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [("0", 0), ("1m30s", 90 * 10**9), ("1.5ms", 1_500_000), ("2µs", 2000), ("-1h", -3600 * 10**9)],
)
def test_durations(text, found):
    assert quantities.duration(text) == found


@pytest.mark.parametrize("text", ["", "1", "x", "1d", "1h " * 20])
def test_what_is_no_duration(text):
    with pytest.raises(InvalidArgument, match="invalid duration"):
        quantities.duration(text)
