"""Hostile root file system archives: nothing is written, changed or linked outside the target (rule R9)."""

import io
import os
import stat
import tarfile
import threading

import pytest

from onggi.archive.extract import Limits, extract
from onggi.errors import InvalidArgument, OnggiError
from onggi.images.decompress import Decompressor
from swapper import rounds, swapping

CANARY = b"untouched"


@pytest.fixture
def place(tmp_path):
    """A target with a canary beside it."""
    (tmp_path / "canary").write_bytes(CANARY)
    (tmp_path / "canary").chmod(0o640)
    (tmp_path / "outside").mkdir(mode=0o750)
    (tmp_path / "root").mkdir()
    yield tmp_path / "root"
    status = (tmp_path / "canary").stat()
    assert (tmp_path / "canary").read_bytes() == CANARY
    assert (stat.S_IMODE(status.st_mode), status.st_nlink) == (0o640, 1)
    assert stat.S_IMODE((tmp_path / "outside").stat().st_mode) == 0o750
    assert not list((tmp_path / "outside").iterdir())


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"", mode: int = 0o777):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(data), mode
    return info, data


def archive(*members) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def unpack(data: bytes, root, limits: Limits = Limits()) -> None:  # noqa: B008 - immutable
    """Feed the archive through a pipe, as the engine does."""
    read_end, write_end = os.pipe()

    def feed() -> None:
        with open(write_end, "wb") as sink:
            try:
                sink.write(data)
            except BrokenPipeError:
                return

    feeder = threading.Thread(target=feed)
    feeder.start()
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        extract(read_end, root_fd, limits)
    finally:
        os.close(root_fd)
        os.close(read_end)
        feeder.join(30)


def harmless(data: bytes, root) -> None:
    """Unpacking may refuse; the fixture sees whether it did harm."""
    try:
        unpack(data, root)
    except OnggiError:
        return


WRITE = b"overwritten"
HOSTILE = {
    "dots": [member("../canary", data=WRITE)],
    "absolute": [member("/../canary", data=WRITE)],
    "link": [member("l", tarfile.SYMTYPE, "../canary"), member("l", data=WRITE)],
    "through a link": [member("d", tarfile.SYMTYPE, "../outside"), member("d/file", data=WRITE)],
    "through an absolute link": [member("d", tarfile.SYMTYPE, "{outside}"), member("d/file", data=WRITE)],
    "hard link": [member("h", tarfile.LNKTYPE, "../canary"), member("h", data=WRITE)],
    "hard link to a link": [member("l", tarfile.SYMTYPE, "{canary}"), member("h", tarfile.LNKTYPE, "l")],
    "hard link by a link": [
        member("d", tarfile.SYMTYPE, "{parent}"),
        member("h", tarfile.LNKTYPE, "d/canary"),
        member("h", data=WRITE),
    ],
    "mode of a directory by a link": [
        member("d", tarfile.SYMTYPE, "{outside}"),
        member("d/.", tarfile.DIRTYPE, mode=0o777),
        member("d", tarfile.DIRTYPE, mode=0o777),
    ],
    "mode of the parent": [member("..", tarfile.DIRTYPE, mode=0o777), member("../outside", tarfile.DIRTYPE)],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_cve_2014_6407_links_and_dots_stay_inside(place, name):
    """CVE-2021-32760 (modes of host files), CVE-2025-47290, CVE-2015-3627."""
    fill = {
        "{canary}": place.parent / "canary",
        "{outside}": place.parent / "outside",
        "{parent}": place.parent,
    }
    members = []
    for info, data in HOSTILE[name]:
        info.linkname = str(fill.get(info.linkname, info.linkname))
        members.append((info, data))
    harmless(archive(*members), place)


@pytest.mark.swapper
def test_cve_2025_47290_a_swapped_directory_is_not_followed(place):
    """While the archive unpacks, somebody swaps a directory for a link out of the root."""
    (place / "d").mkdir()
    (place / "l").symlink_to(place.parent / "outside")
    with swapping(place / "d", place / "l") as count:
        for _ in range(rounds(20)):
            harmless(archive(*(member(f"d/file{number}", data=WRITE) for number in range(50))), place)
    assert count[0] > 10


def test_cve_2017_14992_an_archive_has_caps(place):
    """A bomb ends at the cap, before it is written."""
    with pytest.raises(InvalidArgument, match="more than 1000 bytes"):
        unpack(archive(member("zeros", data=bytes(5000))), place, Limits(bytes=1000))
    with pytest.raises(InvalidArgument, match="more than 3 entries"):
        unpack(archive(*(member(str(number)) for number in range(9))), place, Limits(entries=3))
    with pytest.raises(InvalidArgument, match="nested deeper than 5"):
        unpack(archive(member("d/" * 9 + "f")), place, Limits(depth=5))
    assert not any(path.stat().st_size for path in place.rglob("*") if path.is_file())


def test_cve_2017_14992_compressed_zeros_come_in_small_pieces():
    import gzip

    bomb = gzip.compress(bytes(64 << 20), 9)
    decompressor = Decompressor()
    assert max(len(piece) for piece in decompressor.feed(bomb)) <= 1 << 20


def test_cve_2014_9357_no_program_decompresses(monkeypatch, tmp_path):
    """CVE-2026-41567: no xz, unpigz or zstd is looked up, in the image or elsewhere."""
    import lzma

    marker = tmp_path / "ran"
    for name in ("xz", "unxz", "unpigz", "gzip", "zstd", "bzip2"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {marker}\ncat\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    plain = archive(member("file", data=b"x"))
    decompressor = Decompressor()
    pieces = [*decompressor.feed(lzma.compress(plain)), *decompressor.finish()]
    assert b"".join(pieces) == plain
    assert not marker.exists()


def test_cve_2021_20291_a_cut_archive_is_an_error_not_a_hang(place):
    """Also one that says the same thing twice."""
    whole = archive(member("a", data=b"x" * 5000), member("a", data=b"y"), member("a", tarfile.DIRTYPE))
    unpack(whole, place)
    for size in (100, 512, 700, 5000):
        with pytest.raises(OnggiError):
            unpack(whole[:size], place)
