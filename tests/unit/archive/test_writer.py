import io
import os
import tarfile
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onggi.archive import tar
from onggi.archive.writer import Writer, record
from onggi.errors import InvalidArgument


def written(*members: tuple[tar.Entry, bytes]) -> bytes:
    """The archive of (entry, data) pairs."""
    read_fd, write_fd = os.pipe()
    parts: list[bytes] = []

    def collect() -> None:
        with os.fdopen(read_fd, "rb") as file:
            parts.append(file.read())

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        writer = Writer(write_fd)
        for entry, data in members:
            writer.add(entry)
            if entry.kind == tar.FILE:
                with os.fdopen(os.memfd_create("data"), "wb+") as file:
                    file.write(data)
                    file.flush()
                    file.seek(0)
                    writer.data(file.fileno(), entry.size)
        writer.finish()
    finally:
        os.close(write_fd)
        thread.join()
    return parts[0]


def read(archive: bytes) -> list[tuple[tar.Entry, bytes]]:
    fd = os.memfd_create("archive")
    with os.fdopen(fd, "wb+") as file:
        file.write(archive)
        file.flush()
        os.lseek(fd, 0, os.SEEK_SET)
        reader = tar.Reader(fd)
        found = []
        while entry := reader.next():
            parts = []
            while piece := reader.read():
                parts.append(bytes(piece))
            found.append((entry, b"".join(parts)))
        return found


def entry(name=b"x", kind=tar.FILE, **fields):
    plain = tar.Entry(name, kind, 0, 0o644, 0, 0, 0, b"", (0, 0), {})
    return plain._replace(**fields)


NAMES = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)
FILE_NAMES = NAMES.filter(lambda name: not name.endswith(b"/"))
XATTRS = st.dictionaries(
    st.text("abc.é ", min_size=1, max_size=20).map(str.encode), st.binary(max_size=100), max_size=3
)
ENTRIES = st.builds(
    tar.Entry,
    name=FILE_NAMES,
    kind=st.sampled_from([tar.FILE, tar.HARDLINK, tar.SYMLINK, tar.DIRECTORY, tar.CHARACTER, tar.FIFO]),
    size=st.just(0),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, (1 << 32) - 2),
    gid=st.integers(0, (1 << 32) - 2),
    mtime_ns=st.integers(-(10**18), 10**20),
    link=NAMES,
    device=st.just((0, 0)),
    xattrs=XATTRS,
    stretches=st.none(),
)


@given(ENTRIES, st.binary(max_size=2000))
@example(entry(b"n" * 100, link=b"l" * 100, uid=0o7777777, mtime_ns=0o77777777777 * 10**9), b"x" * 512)
@example(entry(b"n" * 101, tar.SYMLINK, link=b"l" * 101, uid=1 << 21, mtime_ns=(1 << 33) * 10**9), b"")
@example(entry(b"old", mtime_ns=-1), b"")
def test_what_is_written_is_read(wanted, data):
    if wanted.kind == tar.FILE:
        wanted = wanted._replace(size=len(data))
    found = read(written((wanted, data), (entry(b"behind"), b"")))
    assert found == [(wanted, data if wanted.kind == tar.FILE else b""), (entry(b"behind"), b"")]


def test_python_reads_it_too():
    long, link = "d/" * 80 + "é" * 50, "l" * 150
    members = (
        (entry(long.encode(), size=5, uid=3_000_000, mtime_ns=1_500_000_000_250_000_000), b"hello"),
        (entry(b"big", size=70_000), b"y" * 70_000),
        (entry(b"d/", tar.DIRECTORY, mode=0o1777), b""),
        (entry(b"link", tar.SYMLINK, link=link.encode()), b""),
        (entry(b"disk", tar.BLOCK_DEVICE, device=(259, 4000)), b""),
        (entry(b"hard", tar.HARDLINK, link=b"big"), b""),
    )
    with tarfile.open(fileobj=io.BytesIO(written(*members))) as archive:
        first, big, directory, symlink, disk, hard = archive.getmembers()
        assert archive.extractfile(big).read() == b"y" * 70_000
    assert (first.name, first.uid, first.mtime, first.size) == (long, 3_000_000, 1_500_000_000.25, 5)
    assert (directory.isdir(), directory.mode, directory.name) == (True, 0o1777, "d")
    assert (symlink.linkname, disk.devmajor, disk.devminor) == (link, 259, 4000)
    assert (hard.islnk(), hard.linkname) == (True, "big")


def test_plain_members_need_no_records():
    """A header of 512 bytes each, and nothing that depends on the machine."""
    assert len(written((entry(b"a" * 100, mtime_ns=10**18, uid=65534), b""))) == 512 + 1024
    header = written((entry(b"etc/passwd", mode=0o644, mtime_ns=1_700_000_000 * 10**9, size=3), b"abc"))
    fields = {
        "name": header[:100],
        "mode": header[100:108],
        "size": header[124:136],
        "magic": header[257:265],
    }
    assert fields["name"].rstrip(b"\0") == b"etc/passwd"
    assert (fields["mode"], fields["size"]) == (b"0000644\0", b"00000000003\0")
    assert (fields["magic"], header[265:329].strip(b"\0")) == (b"ustar\x0000", b"")


@given(st.binary(max_size=120))
def test_a_record_counts_itself(value):
    text = record(b"path", value)
    assert int(text.split(b" ")[0]) == len(text)


def test_a_file_that_shrinks_or_grows_keeps_its_size():
    shrunk, grown = entry(b"shrunk", size=200_000), entry(b"grown", size=3)
    (_, first), (_, second) = read(written((shrunk, b"x" * 100), (grown, b"abcdef")))
    assert first == b"x" * 100 + bytes(199_900)
    assert second == b"abc"


def test_records_that_no_reader_takes_are_refused():
    with pytest.raises(InvalidArgument, match="too many extended attributes"):
        written((entry(xattrs={b"user.%d" % number: bytes(60_000) for number in range(20)}), b""))
