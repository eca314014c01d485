"""Hostile archives against the unpacking job, confined as in the engine, and against the extractor alone."""

import contextlib
import gzip
import io
import os
import stat
import tarfile
import threading

import pytest

from jobs import in_child
from onggi.archive.confine import WRITER, confine
from onggi.archive.extract import Limits, extract
from onggi.archive.jobs import unpack as unpack_job
from onggi.errors import InvalidArgument

KINDS = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "dir": tarfile.DIRTYPE, "file": tarfile.REGTYPE}


def archive(*members):
    """A tar of (kind, name, data or link, mode) records."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for kind, name, content, *mode in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = KINDS[kind], mode[0] if mode else 0o755
            data = content.encode() if kind == "file" else b""
            info.linkname, info.size = "" if kind == "file" else content, len(data)
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def unpack(data, target, *, confined=True, **limits):
    """Unpack in a child; the answer of the job or its error."""
    stream = os.memfd_create("archive")
    os.write(stream, data)
    os.lseek(stream, 0, os.SEEK_SET)
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    limits = Limits()._asdict() | limits

    def work():
        if confined:
            return unpack_job([stream, root], limits)
        return extract(stream, root, Limits(**limits))._asdict()

    try:
        return in_child(work)
    finally:
        os.close(stream)
        os.close(root)


@pytest.fixture
def place(tmp_path):
    """A target directory, and beside it a canary that must never change."""
    target = tmp_path / "target"
    target.mkdir()
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    canary.chmod(0o600)
    before = canary.stat()
    yield target, canary
    after = canary.stat()
    assert canary.read_text() == "untouched"
    assert (before.st_mode, before.st_uid, before.st_mtime_ns, before.st_nlink) == (
        after.st_mode,
        after.st_uid,
        after.st_mtime_ns,
        after.st_nlink,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "target"]


@pytest.mark.parametrize("confined", [True, False])
@pytest.mark.parametrize(
    "members",
    [
        [("link", "x", "../canary"), ("file", "x", "evil")],
        [("link", "x", ".."), ("file", "x/canary", "evil")],
        [("hard", "x", "../canary"), ("file", "x", "evil")],
        [("link", "up", "/.."), ("file", "up/canary", "evil")],
        [("link", "a", "b"), ("link", "b", "/../.."), ("file", "a/canary", "evil")],
        [("dir", "d", ""), ("link", "d/l", "/../../../canary"), ("hard", "h", "d/l"), ("file", "h", "evil")],
        [("file", "../canary", "evil")],
        [("file", "d/../../canary", "evil")],
        [("dir", "../new", "")],
        [("link", "../new", "x")],
    ],
)
def test_cve_2014_6407_links_lead_out(place, members, confined):
    """And CVE-2014-9356, CVE-2018-15664: whatever a link says, nothing outside is touched."""
    target, _ = place
    unpack(archive(*members), target, confined=confined)


@pytest.mark.parametrize("confined", [True, False])
def test_cve_2014_6407_absolute_links_stay_inside(place, confined):
    target, canary = place
    members = [("link", "x", str(canary.parent)), ("file", "x/canary", "inside")]
    answer = unpack(archive(*members), target, confined=confined)
    inside = target / str(canary.parent)[1:] / "canary"
    assert answer["result"]["entries"] == 2
    assert inside.read_text() == "inside"


@pytest.mark.parametrize("confined", [True, False])
def test_cve_2014_6407_a_file_replaces_a_link(place, confined):
    target, canary = place
    members = [("link", "x", str(canary)), ("file", "x", "new"), ("hard", "y", "x")]
    assert unpack(archive(*members), target, confined=confined)["result"]["entries"] == 3
    assert not (target / "x").is_symlink()
    assert (target / "y").read_text() == "new"


@pytest.mark.parametrize("confined", [True, False])
def test_cve_2021_32760_modes_of_host_files(place, confined):
    target, canary = place
    hostile = [
        [("link", "x", str(canary)), ("dir", "x", "", 0o777)],
        [("link", "x", "/../canary"), ("file", "x", "", 0o4777)],
        [("hard", "x", str(canary), 0o777)],
        [("link", "x", str(canary), 0o777)],
        [("link", "d", str(canary.parent)), ("dir", "d", "", 0o777)],
    ]
    for members in hostile:
        unpack(archive(*members), target, confined=confined)
    mode = canary.parent.stat().st_mode
    assert not stat.S_IMODE(mode) & 0o002


@pytest.mark.parametrize("confined", [True, False])
def test_cve_2025_47290_swapped_link(place, confined):
    """Somebody swaps a directory for a link to the outside while the archive is unpacked."""
    target, canary = place
    (target / "d").mkdir()
    stop = threading.Event()
    swaps = []

    def swap():
        while not stop.is_set():
            aside = f"e{len(swaps)}"
            with contextlib.suppress(OSError):  # the extractor races with us: that is the point
                os.rename(target / "d", target / aside)
                os.symlink(canary.parent, target / "d")
                os.unlink(target / "d")
                os.rename(target / aside, target / "d")
            swaps.append(1)

    thread = threading.Thread(target=swap)
    thread.start()
    data = archive(("file", "d/canary", "evil", 0o777), ("file", "d/target/evil", "evil"))
    try:
        for _ in range(60):
            unpack(data, target, confined=confined)
    finally:
        stop.set()
        thread.join()
    assert swaps
    assert not (target / "evil").exists()  # as d/target/evil would be, with d a link to the directory around


def test_cve_2017_14992_entry_and_byte_caps(place):
    target, _ = place
    many = archive(*(("file", f"f{number}", "x") for number in range(50)))
    assert "more than 10 entries" in unpack(many, target, entries=10)["error"]
    assert "more than 20 bytes" in unpack(many, target, bytes=20)["error"]
    assert "nested deeper than 5" in unpack(archive(("file", "a/" * 9 + "b", "x")), target, depth=5)["error"]
    big = tarfile.TarInfo("big")
    big.size = 1 << 40
    assert "more than 1000 bytes" in unpack(big.tobuf(), target, bytes=1000)["error"]
    assert not (target / "big").exists()


def test_cve_2021_20291_truncated_and_duplicated(place):
    target, _ = place
    data = archive(("file", "a", "x" * 3000), ("file", "b", "y" * 3000))
    for cut in (100, 600, 3000, 4700):
        assert "invalid tar" in unpack(data[:cut], target)["error"]
    twice = archive(
        *[("file", "same", "1"), ("dir", "same", ""), ("link", "same", "x"), ("hard", "t", "same")] * 3
    )
    assert unpack(twice, target)["result"]["entries"] == 12
    assert os.readlink(target / "same") == "x"


@pytest.mark.parametrize("later", [(), ("SYS_ADMIN",)])
def test_the_job_has_no_rights_left(place, later):
    """R9: no network, six capabilities with effect, no way out of the directory, no new privileges."""
    target, _ = place
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)

    def work():
        status = os.open("/proc/self/status", os.O_RDONLY)
        network = os.open("/proc/self/net/dev", os.O_RDONLY)
        confine(root, WRITER._replace(later=later))
        return os.read(status, 65536).decode(), os.listdir("/"), len(os.read(network, 65536).splitlines())

    text, listed, _ = in_child(work)["result"]
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    kept = sum(1 << number for number in (0, 1, 3, 4, 27, 31))
    held = kept | (1 << 21 if later else 0)
    assert int(fields["CapEff"], 16) == kept
    assert {int(fields[name], 16) for name in ("CapPrm", "CapBnd")} == {held}
    assert int(fields["CapInh"], 16) == int(fields["CapAmb"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert listed == []
    os.close(root)


def test_what_an_archive_may_not_set(place):
    target, _ = place
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        info = tarfile.TarInfo("f")
        info.mode = 0o4755
        info.pax_headers = {
            "SCHILY.xattr.trusted.overlay.opaque": "y",
            "SCHILY.xattr.security.selinux": "x",
            "SCHILY.xattr.user.ok": "1",
        }
        out.addfile(info)
    assert unpack(buffer.getvalue(), target) == {"result": {"entries": 1, "bytes": 0}}
    assert os.listxattr(target / "f") == ["user.ok"]
    assert stat.S_IMODE((target / "f").stat().st_mode) == 0o4755
    device = tarfile.TarInfo("w")
    device.type = tarfile.CHRTYPE
    assert "character device 0:0" in unpack(device.tobuf(), target)["error"]
    assert "whiteout" in unpack(archive(("file", "d/.wh.x", "")), target)["error"]


def test_cve_2014_9357_no_program_decompresses(place, monkeypatch):
    """The decompressor once came from the container. Ours is no program at all."""
    import lzma

    from onggi.images.decompress import Decompressor

    started = []
    for name in ("fork", "posix_spawn", "execve", "system"):
        monkeypatch.setattr(os, name, lambda *_, name=name: started.append(name))
    for data in (gzip.compress(b"x"), lzma.compress(b"x")):
        decompressor = Decompressor()
        assert b"".join([*decompressor.feed(data), *decompressor.finish()]) == b"x"
    assert not started


def test_cve_2024_3727_malformed_digests(tmp_path):
    """And CVE-2014-9358: an id that is a path is refused before it becomes one."""
    from onggi.store.blobs import Blobs
    from onggi.store.layout import Layout

    blobs = Blobs(Layout(str(tmp_path)))
    for digest in (
        "../../x",
        "sha256:../../x",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 65,
        "md5:" + "a" * 32,
        "",
    ):
        with pytest.raises(InvalidArgument, match="invalid digest"):
            blobs.read(digest)


def test_cve_2026_53488_reserved_labels():
    from onggi.images.changes import apply

    config = apply({}, ["LABEL onggi.log=binary:///x ONGGI.x=1 io.onggi.restart=always mine=1"])
    assert config == {"Labels": {"mine": "1"}}
