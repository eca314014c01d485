"""Writing, rotating, reading and following, on real files."""

from __future__ import annotations

import contextlib
import gzip
import os
import select
import stat
from pathlib import Path

import pytest

from onggi.logs.reader import EVERYTHING, Reader, Selection
from onggi.logs.record import Record
from onggi.logs.writer import FileWriter, Writer, open_writer

T = 1_800_000_000_000_000_000
DRIVERS = pytest.mark.parametrize("driver", ["json-file", "local"])


def directory(tmp_path: Path) -> str:
    path = tmp_path / "c0ffee" / "log"
    path.mkdir(parents=True, exist_ok=True)
    return str(path)


def read(reader: Reader, selection: Selection = EVERYTHING) -> list[Record]:
    """The selected records that are there now."""
    with contextlib.closing(reader.open(selection)) as cursor:
        return [record for records in iter(cursor.read_more, []) for record in records]


def text(reader: Reader, selection: Selection = EVERYTHING) -> bytes:
    return b"".join(record.data for record in read(reader, selection))


def test_the_file_is_named_after_the_container_and_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        open_writer("json-file", directory(tmp_path), {}).close()
    finally:
        os.umask(old)
    path = tmp_path / "c0ffee" / "log" / "c0ffee-json.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@DRIVERS
def test_lines_are_kept_whole_over_calls_and_streams(tmp_path: Path, driver: str) -> None:
    writer = open_writer(driver, directory(tmp_path), {})
    for stream, data in ((1, b"one "), (2, b"err"), (1, b"line\ntwo"), (2, b"or\n"), (1, b"")):
        writer.write(stream, data, T)
    writer.close()
    records = read(Reader(directory(tmp_path), driver))
    assert [(r.stream, r.data) for r in records] == [(1, b"one line\n"), (2, b"error\n"), (1, b"two")]


@DRIVERS
def test_long_lines_are_cut_but_not_inside_a_character(tmp_path: Path, driver: str) -> None:
    line = "é".encode() * 20000 + b"x\n"
    for step in (len(line), 1000, 16384):
        writer = open_writer(driver, directory(tmp_path), {"max-size": "-1"})
        for start in range(0, len(line), step):
            writer.write(1, line[start : start + step], T + start)
        writer.write(1, b"next\n", T)
        writer.close()
        records = read(Reader(directory(tmp_path), driver))
        assert b"".join(r.data for r in records) == line + b"next\n"
        assert max(len(r.data) for r in records) <= 16385
        assert len({r.time_ns for r in records[:-1]}) == 1  # as docker: all pieces carry the first one's time
        os.unlink(next(Path(directory(tmp_path)).iterdir()))


@DRIVERS
@pytest.mark.parametrize("compress", ["true", "false"])
def test_rotation_keeps_an_unbroken_tail(tmp_path: Path, driver: str, compress: str) -> None:
    options = {"max-size": "2k", "max-file": "3", "compress": compress}
    writer = open_writer(driver, directory(tmp_path), options)
    for start in range(0, 1000, 7):
        writer.write(1, b"".join(b"line %d\n" % n for n in range(start, start + 7)), T)
    writer.close()
    assert writer.errors == 0
    numbers = [int(line.split()[1]) for line in text(Reader(directory(tmp_path), driver)).splitlines()]
    assert numbers == list(range(numbers[0], 1001))
    assert 60 < len(numbers) < 300
    assert len(os.listdir(directory(tmp_path))) == 3
    largest = max(path.stat().st_size for path in Path(directory(tmp_path)).iterdir())
    assert largest < 2000 + 200  # one record over the limit at most, as docker


@DRIVERS
@pytest.mark.parametrize("compress", ["true", "false"])
def test_tail_over_files(tmp_path: Path, driver: str, compress: str) -> None:
    options = {"max-size": "2k", "max-file": "9", "compress": compress}
    writer = open_writer(driver, directory(tmp_path), options)
    for n in range(150):
        writer.write(1, b"line %d\n" % n, T + n)
    writer.close()
    reader = Reader(directory(tmp_path), driver)
    for count in (0, 1, 5, 40, 90):
        expected = b"".join(b"line %d\n" % n for n in range(150 - count, 150))
        assert text(reader, Selection(tail=count)) == expected
    assert text(reader, Selection(tail=20, since_ns=T + 148)) == b"line 148\nline 149\n"
    assert text(reader, Selection(until_ns=T + 140, since_ns=T + 140)) == b"line 140\n"


def test_streams_can_be_chosen(tmp_path: Path) -> None:
    writer = open_writer("json-file", directory(tmp_path), {})
    writer.write(1, b"out\n", T)
    writer.write(2, b"err\n", T)
    writer.close()
    assert text(Reader(directory(tmp_path), "json-file"), Selection(streams=frozenset((2,)))) == b"err\n"


@DRIVERS
def test_what_is_read_at_once_is_bounded(tmp_path: Path, driver: str) -> None:
    writer = open_writer(driver, directory(tmp_path), {})
    for _ in range(100):
        writer.write(1, (b"x" * 999 + b"\n") * 10, T)
    writer.close()
    cursor = Reader(directory(tmp_path), driver).open()
    batches = list(iter(cursor.read_more, []))
    cursor.close()
    assert sum(map(len, batches)) == 1000
    assert max(sum(len(record.data) for record in batch) for batch in batches) <= 65536


@DRIVERS
@pytest.mark.parametrize("tail", [-1, 1999])
def test_what_is_read_of_a_compressed_file_is_bounded(tmp_path: Path, driver: str, tail: int) -> None:
    writer = open_writer(driver, directory(tmp_path), {"max-size": "-1"})
    for _ in range(2000):
        writer.write(1, bytes(5000) + b"\n", T)
    writer.close()
    (plain,) = Path(directory(tmp_path)).iterdir()
    rotated = Path(f"{plain}.1.gz")
    rotated.write_bytes(gzip.compress(plain.read_bytes(), 1))
    plain.write_bytes(b"")
    with contextlib.closing(Reader(directory(tmp_path), driver).open(Selection(tail=tail))) as cursor:
        sizes = [sum(len(record.data) for record in batch) for batch in iter(cursor.read_more, [])]
    assert sum(sizes) == 5001 * (tail if tail > 0 else 2000)
    assert max(sizes) <= 65536 + 5001


@DRIVERS
@pytest.mark.parametrize("compress", ["true", "false"])
@pytest.mark.parametrize("files", ["1", "2", "5"])
def test_following_over_rotation_loses_nothing(
    tmp_path: Path, driver: str, compress: str, files: str
) -> None:
    if files == "1":
        compress = "false"
    options = {"max-size": "2k", "max-file": files, "compress": compress}
    writer = open_writer(driver, directory(tmp_path), options)
    cursor = Reader(directory(tmp_path), driver).open(Selection(tail=0), follow=True)
    seen = b""
    for n in range(500):
        writer.write(1, b"line %d\n" % n, T)
        if n % 9 == 0:
            assert select.select([cursor], [], [], 30)[0]
            seen += b"".join(record.data for record in cursor.read_more())
    writer.close()
    while records := cursor.read_more():
        seen += b"".join(record.data for record in records)
    cursor.close()
    assert seen == b"".join(b"line %d\n" % n for n in range(500))


@DRIVERS
def test_a_half_record_left_by_a_crash_is_dropped(tmp_path: Path, driver: str) -> None:
    writer = open_writer(driver, directory(tmp_path), {})
    writer.write(1, b"one\ntwo\n", T)
    writer.close()
    path = next(Path(directory(tmp_path)).iterdir())
    os.truncate(path, path.stat().st_size - 5)
    writer = open_writer(driver, directory(tmp_path), {})
    writer.write(1, b"three\n", T)
    writer.close()
    assert text(Reader(directory(tmp_path), driver)) == b"one\nthree\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_counted_and_stops_nobody(tmp_path: Path) -> None:
    writer = open_writer("json-file", directory(tmp_path), {})
    assert isinstance(writer, FileWriter)
    os.dup2(os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC), writer._fd)
    writer.write(1, b"lost\n", T)
    assert writer.errors == 1
    writer.close()


def test_none_keeps_nothing(tmp_path: Path) -> None:
    writer = open_writer("none", str(tmp_path), {})
    writer.write(1, b"x\n", T)
    writer.close()
    assert type(writer) is Writer
    assert list(tmp_path.iterdir()) == []
