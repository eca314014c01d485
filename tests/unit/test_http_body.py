"""Request bodies: the chunked decoder against h11, the queue's back-pressure, and limits."""

import asyncio
from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onggi.api.http.body import HIGH_WATER, LINE_LIMIT, Body, BodyError, ChunkedDecoder, LengthDecoder

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a != b]


def ours(parts: list[bytes]) -> tuple[bytes, bytes] | None:
    """(body, rest) of a complete body; None if it is incomplete; raises BodyError."""
    decoder, body, rest = ChunkedDecoder(), b"", b""
    for part in parts:
        if decoder.done:
            rest += part
            continue
        pieces, behind = decoder.feed(part)
        body += b"".join(pieces)
        rest += behind
    return (body, rest) if decoder.done else None


def theirs(data: bytes) -> tuple[bytes, bytes] | None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(HEAD + data)
    assert isinstance(connection.next_event(), h11.Request)
    body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return body, connection.trailing_data[0]
        else:
            return None


CHUNK = st.tuples(st.binary(min_size=1, max_size=300), st.sampled_from([b"", b";a=b", b" ", b';x="y"']))
CUTS = st.lists(st.integers(0, 2000), max_size=30)


def encode(chunks: list[tuple[bytes, bytes]], trailer: bytes) -> bytes:
    return b"".join(b"%x%b\r\n%b\r\n" % (len(d), e, d) for d, e in chunks) + b"0\r\n" + trailer + b"\r\n"


@given(st.lists(CHUNK, max_size=8), st.sampled_from([b"", b"X-Sum: 1\r\n"]), st.binary(max_size=20), CUTS)
def test_chunked_bodies_decode_in_any_pieces(chunks, trailer, rest, cuts):
    data = encode(chunks, trailer) + rest
    assert ours(split(data, cuts)) == (b"".join(d for d, _ in chunks), rest)
    assert theirs(encode(chunks, trailer)) == (b"".join(d for d, _ in chunks), b"")


@settings(max_examples=500)
@given(
    st.lists(CHUNK, max_size=4),
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from([b"\r", b"\n", b"0", b"g", b";", b"\x00", b""])),
        max_size=3,
    ),
    CUTS,
)
def test_what_we_accept_h11_accepts_alike(chunks, changes, cuts):
    data = encode(chunks, b"")
    for position, byte in changes:
        data = data[:position] + byte + data[position + 1 :]
    try:
        result = ours(split(data, cuts))
    except BodyError:
        return
    if result is not None:
        assert theirs(data) == result


@pytest.mark.parametrize(
    "data",
    [
        b"-1\r\n",
        b"0x4\r\n",
        b"4\n",
        b"zz\r\n",
        b"\r\n",
        b"fffffffffffffffff\r\n",
        b"1\r\naXX",
        b"1\r\na\r\n\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"1" * (LINE_LIMIT + 10),
        b"0\r\n" + b"X: y\r\n" * 10000,
    ],
)
def test_broken_framing_is_refused(data):
    with pytest.raises(BodyError):
        ours([data + b"\n"])


@given(st.binary(max_size=200), st.integers(0, 200), CUTS)
def test_length_bodies(data, size, cuts):
    decoder, body, rest = LengthDecoder(min(size, len(data))), b"", b""
    for part in split(data, cuts):
        pieces, behind = decoder.feed(part)
        body += b"".join(pieces)
        rest += behind
    assert (body, rest) == (data[: min(size, len(data))], data[min(size, len(data)) :])


def test_a_slow_reader_pauses_the_connection():
    async def scene():
        flow = []
        body = Body(LengthDecoder(4 * HIGH_WATER), flow.append)
        piece = b"x" * (HIGH_WATER // 2)
        for _ in range(3):
            body.feed(piece)
        assert flow == [False]
        chunks = body.chunks()
        for _ in range(3):
            await anext(chunks)
        assert flow == [False, True]
        await chunks.aclose()

    asyncio.run(scene())


def test_a_body_larger_than_asked_is_refused():
    async def scene():
        body = Body(LengthDecoder(100), lambda on: None)
        body.feed(b"x" * 60)
        with pytest.raises(BodyError, match="larger than 50"):
            await body.read(50)
        body = Body(LengthDecoder(60), lambda on: None)
        body.feed(b"x" * 60)
        with pytest.raises(BodyError, match="larger than 50"):
            await body.read(50)

    asyncio.run(scene())


def test_a_client_that_goes_ends_the_body():
    async def scene():
        body = Body(LengthDecoder(100), lambda on: None)
        body.feed(b"abc")
        asyncio.get_running_loop().call_soon(body.fail, BodyError("unexpected EOF"))
        chunks = body.chunks()
        assert await anext(chunks) == b"abc"
        with pytest.raises(BodyError, match="unexpected EOF"):
            await anext(chunks)

    asyncio.run(scene())
