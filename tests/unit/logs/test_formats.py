"""Log formats: docker's bytes, and everything that was written comes back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.logs.jsonfile import JsonFile, escape
from onggi.logs.local import Local
from onggi.logs.record import Record
from onggi.logs.times import Parser
from onggi.times import rfc3339

T = 1_800_000_000_123_450_000
LINES = st.lists(st.binary(max_size=60).map(lambda b: b.replace(b"\n", b"")), min_size=1, max_size=8)


def test_a_record_has_dockers_bytes() -> None:
    expected = b'{"log":"a \\"b\\" \\\\ \\u003cc\\u003e \\u0009\\n",'
    expected += b'"stream":"stderr","time":"2027-01-15T08:00:00.12345Z"}\n'
    assert JsonFile().lines(2, b'a "b" \\ <c> \t\n', T) == expected


def test_attributes_stand_before_the_time_in_order() -> None:
    line = JsonFile({"b": "2", "a": 'q"'}).piece(1, b"x", T)
    assert line.startswith(b'{"log":"x","stream":"stdout","attrs":{"a":"q\\"","b":"2"},"time":')


@given(st.binary(max_size=200))
def test_escaping_gives_json_and_keeps_utf8(data: bytes) -> None:
    text = json.loads(b'"' + escape(data.replace(b"\n", b"")) + b'"')
    assert text == data.replace(b"\n", b"").decode("utf-8", "surrogateescape").translate(
        dict.fromkeys(range(0xDC80, 0xDD00), "\ufffd")
    )


@given(LINES, st.sampled_from([1, 2]))
def test_local_keeps_every_byte(lines: list[bytes], stream: int) -> None:
    data = b"\n".join(lines) + b"\n"
    records, used = Local().parse(Local().lines(stream, data, T))
    assert records == [Record(T, stream, line + b"\n") for line in lines]
    assert used == len(Local().lines(stream, data, T))


@given(LINES)
def test_json_lines_come_back(lines: list[bytes]) -> None:
    texts = [line.decode("latin-1").encode() for line in lines]
    records, _ = JsonFile().parse(JsonFile().lines(1, b"\n".join(texts) + b"\n", T))
    assert [record.data for record in records] == [text + b"\n" for text in texts]


@given(LINES, st.integers(0, 400))
def test_half_a_record_waits_and_a_damaged_end_is_found(lines: list[bytes], lost: int) -> None:
    for form in (JsonFile(), Local()):
        whole = form.lines(1, b"\n".join(lines) + b"\n", T)
        cut = whole[: max(0, len(whole) - lost)]
        records, used = form.parse(cut)
        fd = os.memfd_create("log")
        try:
            os.write(fd, cut)
            assert form.sound_size(fd, len(cut)) == used
        finally:
            os.close(fd)
        assert len(records) <= len(lines)


@pytest.mark.parametrize("form", [JsonFile(), Local()], ids=["json", "local"])
@given(lines=LINES, count=st.integers(0, 12))
def test_the_tail_begins_where_it_should(form: JsonFile | Local, lines: list[bytes], count: int) -> None:
    batch = form.lines(1, b"\n".join(lines) + b"\n", T)
    fd = os.memfd_create("log")
    try:
        os.write(fd, batch)
        offset, found = form.tail_offset(fd, len(batch), count)
    finally:
        os.close(fd)
    assert found == min(count, len(lines))
    assert len(form.parse(batch[offset:])[0]) == found


def test_a_tail_longer_than_a_block_is_found(tmp_path: Path) -> None:
    form = JsonFile()
    batch = b"".join(form.lines(1, b"%d %s\n" % (n, b"x" * 900), T) for n in range(300))
    path = tmp_path / "log"
    path.write_bytes(batch)
    with path.open("rb") as file:
        offset, found = form.tail_offset(file.fileno(), len(batch), 200)
    records, _ = form.parse(batch[offset:])
    assert (found, records[0].data.split()[0]) == (200, b"100")


def test_a_damaged_line_hides_no_other() -> None:
    good = JsonFile().lines(1, b"good\n", T)
    for bad in (b"{\n", b"[]\n", b'{"log":1,"time":"x"}\n', b"\x00\x00\n", b'{"log":"a","time":"2026"}\n'):
        records, _ = JsonFile().parse(good + bad + good)
        assert [record.data for record in records] == [b"good\n", b"good\n"]


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_times_come_back(time_ns: int) -> None:
    assert Parser().parse_ns(rfc3339(time_ns)) == time_ns


def test_whole_seconds_have_no_fraction() -> None:
    assert rfc3339(1_000_000_000) == "1970-01-01T00:00:01Z"
