import bz2
import gzip
import lzma
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import InvalidArgument
from onggi.images.decompress import Decompressor, _zstd_module

DATA = os.urandom(5000) + bytes(3 << 20) + b"end"
CODECS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": _zstd_module.compress,
}


def decompress(data, step):
    decompressor = Decompressor()
    parts = []
    for start in range(0, len(data), step):
        parts += decompressor.feed(data[start : start + step])
    return b"".join([*parts, *decompressor.finish()]), parts


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("step", [1009, 1 << 20])
def test_round_trip_in_bounded_pieces(codec, step):
    result, parts = decompress(CODECS[codec](DATA), step)
    assert result == DATA
    assert max(map(len, parts)) <= 1 << 20


@pytest.mark.parametrize("codec", sorted(CODECS.keys() - {"plain"}))
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_several_frames_and_padding(codec, step):
    data = CODECS[codec](b"one") + CODECS[codec](b"two") + bytes(5)
    assert decompress(data, step)[0] == b"onetwo"


@pytest.mark.parametrize("codec", sorted(CODECS.keys() - {"plain"}))
@pytest.mark.parametrize("damage", ["cut", "flip", "tail"])
def test_damage_is_found(codec, damage):
    data = bytearray(CODECS[codec](os.urandom(5000)))
    if damage == "cut":
        del data[-9:]
    elif damage == "flip":
        data[len(data) // 2] ^= 0xFF
        data[-5] ^= 0xFF
    else:
        data += b"garbage"
    if codec == "zstd" and damage == "flip":
        data[5] ^= 0xFF  # frames carry no checksum unless asked: damage the block header
    with pytest.raises(InvalidArgument):
        decompress(bytes(data), 1 << 20)


@given(
    st.binary(max_size=500), st.sampled_from([b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh9", b""])
)
def test_fuzz(data, magic):
    try:
        decompress(magic + data, 64)
    except InvalidArgument:
        pass  # the only error there is


def test_short_and_empty_streams():
    assert decompress(b"", 1)[0] == b""
    assert decompress(b"abc", 1)[0] == b"abc"
