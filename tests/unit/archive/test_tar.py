import io
import os
import tarfile
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.archive import tar
from onggi.archive.names import clean
from onggi.errors import InvalidArgument, OnggiError, Unsupported


def read(data: bytes):
    """All members of an archive as (entry, data), through a pipe."""
    read_fd, write_fd = os.pipe()

    def feed():
        try:
            with os.fdopen(write_fd, "wb") as file:
                file.write(data)
        except BrokenPipeError:
            pass  # the reader refused the archive

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        reader = tar.Reader(read_fd)
        found = []
        while entry := reader.next():
            parts = []
            while piece := reader.read():
                parts.append(bytes(piece))
            found.append((entry, b"".join(parts)))
        reader.drain()
        return found
    finally:
        os.close(read_fd)
        thread.join()


def archive(*members, format=tarfile.PAX_FORMAT, **extra):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, **extra) as out:
        for info, data in members:
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(name, kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_what_tarfile_writes(format):
    long = "d/" * 40 + "f" * 60
    data = archive(
        (member(long, uid=1000, gid=7, mode=0o4755, mtime=1234567890), b"x" * 1000),
        (member("link", tarfile.SYMTYPE, linkname="a" * 99), b""),
        (member("hard", tarfile.LNKTYPE, linkname="d/f"), b""),
        (member("dev", tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
        (member("dir", tarfile.DIRTYPE, mode=0o1777), b""),
        format=format,
    )
    entries = read(data)
    first, content = entries[0]
    assert (first.name, first.uid, first.gid, first.mode) == (long.encode(), 1000, 7, 0o4755)
    assert (first.mtime_ns, content) == (1234567890 * 10**9, b"x" * 1000)
    assert entries[1][0].link == b"a" * 99
    assert (entries[2][0].kind, entries[2][0].link) == (tar.HARDLINK, b"d/f")
    assert entries[3][0].device == (1, 3)
    assert (entries[4][0].kind, entries[4][0].mode) == (tar.DIRECTORY, 0o1777)


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_links(format):
    name, link = "n" * 200 + "/" + "m" * 200, "l" * 300
    entries = read(archive((member(name, tarfile.SYMTYPE, linkname=link), b""), format=format))
    assert (entries[0][0].name, entries[0][0].link) == (name.encode(), link.encode())


def test_pax_details():
    headers = {"mtime": "-1.25", "SCHILY.xattr.user.a": "b=\n", "size": "3"}
    entry, data = read(archive((member("é", pax_headers=headers), b"abc")))[0]
    assert (entry.name, entry.mtime_ns, entry.xattrs) == ("é".encode(), -1_250_000_000, {b"user.a": b"b=\n"})
    assert data == b"abc"


def test_base_256_numbers():
    entry, _ = read(archive((member("x", uid=4294967294, mtime=-5), b""), format=tarfile.GNU_FORMAT))[0]
    assert (entry.uid, entry.mtime_ns) == (4294967294, -5 * 10**9)
    assert tar.number(b"\x80\0\0\0\0\0\x01\0", "x") == 256
    with pytest.raises(InvalidArgument, match="negative"):
        tar.number(b"\xff" * 8, "size")


def test_owner_out_of_range():
    data = archive((member("x", pax_headers={"uid": "4294967295"}), b""))
    with pytest.raises(InvalidArgument, match="out of range"):
        read(data)


def test_unknown_type_is_refused_by_name():
    with pytest.raises(Unsupported, match=r"type b'M': x"):
        read(archive((member("x", b"M"), b"")))


def test_global_headers_change_nothing():
    data = archive((member("x"), b"1"), pax_headers={"path": "evil", "comment": "c"})
    assert read(data)[0][0].name == b"x"


@pytest.mark.parametrize(
    "records", [b"5 a=b", b"99 a=b\n", b"x a=b\n", b"7 aabb\n", b"3 =", b"0 a=b\n", b" a=b\n", b"-6 a=b\n"]
)
def test_malformed_pax(records):
    with pytest.raises(InvalidArgument, match="PAX"):
        tar.parse_pax(records)


@pytest.mark.parametrize("cut", [1, 511, 513, 700, 1100])
def test_cut_off(cut):
    data = archive((member("a"), b"x" * 700))
    with pytest.raises(InvalidArgument, match=r"unexpected end|checksum"):
        read(data[:cut])


def test_not_an_archive():
    with pytest.raises(InvalidArgument, match="is it a tar archive"):
        read(b"hello" * 200)


@given(st.binary(max_size=3000))
def test_fuzz_random_bytes(data):
    try:
        read(data)
    except OnggiError:
        pass  # a category, never an accident


@given(st.data())
def test_fuzz_damaged_archives(data):
    original = bytearray(ORIGINAL)
    for _ in range(data.draw(st.integers(1, 6))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    fix_checksums(original)
    try:
        for entry, _ in read(bytes(original)):
            clean(entry.name, 100)
    except OnggiError:
        pass  # a category, never an accident


ORIGINAL = archive(
    (member("a" * 120, pax_headers={"mtime": "1.5", "SCHILY.xattr.user.x": "y"}), b"data" * 200),
    (member("dir/link", tarfile.SYMTYPE, linkname="../a"), b""),
    (member("b", tarfile.BLKTYPE, devmajor=8, devminor=1), b""),
)


def fix_checksums(data):
    """Make damaged headers plausible, so that what lies behind the checksum is tried too."""
    for start in range(0, len(data) - 511, 512):
        if data[start + 257 : start + 262] == b"ustar":
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])


@given(st.binary(max_size=300))
def test_clean_never_leads_out(name):
    try:
        parts = clean(name, 64).split(b"/")
    except InvalidArgument:
        return
    assert b".." not in parts
    assert b"." not in parts


@pytest.mark.parametrize(
    "name", [b"..", b"../x", b"a/../../x", b"/../x", b"a/" * 65 + b"x", b"n" * 256, b"n/" * 3000]
)
def test_clean_refuses(name):
    with pytest.raises(InvalidArgument):
        clean(name, 64)


def test_clean():
    assert clean(b"./a//b/./c/", 64) == b"a/b/c"
    assert clean(b"/a/../b", 64) == b"b"
    assert clean(b"./", 64) == b""
