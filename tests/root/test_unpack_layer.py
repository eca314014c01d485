"""The unpacking job on layers: whiteouts as overlay shows them, and trees as other tools make them."""

import io
import os
import stat
import subprocess
import tarfile

import pytest

import jobs
from onggi.kernel import mounts
from tree import ACL, DEFAULT_ACL, describe, make_zoo

OPAQUE = "trusted.overlay.opaque"


def layer(*members, format=tarfile.PAX_FORMAT):
    """An archive of names ("d/" is a directory, "a -> b" a link), or of TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as out:
        for member in members:
            out.addfile(*made(member))
    return buffer.getvalue()


def made(member):
    if isinstance(member, tarfile.TarInfo):
        return (member, io.BytesIO(b"x" * member.size))
    name, _, link = member.partition(" -> ")
    info = tarfile.TarInfo(name)
    info.type = tarfile.SYMTYPE if link else tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
    info.linkname, info.mode = link, 0o755
    return info, None


def shown(tmp_path, *upper):
    """What a container sees of a lower layer (a, d/x, d/y, e/x) below the unpacked one, and the answer."""
    lower, fs, work, merged = (tmp_path / name for name in ("lower", "fs", "work", "merged"))
    for directory in (lower, fs, work, merged, lower / "d", lower / "e"):
        directory.mkdir()
    for name in ("a", "d/x", "d/y", "e/x"):
        (lower / name).write_text("lower")
    answer = jobs.unpack(layer(*upper), fs)
    fd = mounts.overlay([str(fs), str(lower)])
    target = os.open(merged, os.O_PATH)
    mounts.attach(fd, target)
    os.close(fd)
    os.close(target)
    try:
        # A whiteout with nothing below it is listed and not there, as the kernel has it.
        return sorted(str(path.relative_to(merged)) for path in merged.rglob("*") if path.exists()), answer
    finally:
        subprocess.run(["umount", str(merged)], check=True)


ALL = ["a", "d", "d/x", "d/y", "e", "e/x"]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([".wh.a", "d/.wh.x"], ["d", "d/y", "e", "e/x"]),
        ([".wh.d"], ["a", "e", "e/x"]),
        (["d/", "d/.wh..wh..opq", "d/z"], ["a", "d", "d/z", "e", "e/x"]),
        (["d/z", "d/.wh..wh..opq"], ["a", "d", "d/z", "e", "e/x"]),
        # A whiteout is about lower layers: what its own layer has by the name is there, in either order.
        ([".wh.a", "a"], ALL),
        (["a", ".wh.a"], ALL),
        ([".wh.d", "d/", "d/z"], ["a", "d", "d/z", "e", "e/x"]),
        (["d/", "d/z", ".wh.d"], ["a", "d", "d/z", "e", "e/x"]),
        ([".wh.d", "d/z"], ["a", "d", "d/z", "e", "e/x"]),
        ([".wh.d", "d -> e"], ["a", "d", "e", "e/x"]),
        # Some builders write the whiteouts of a directory's entries behind its own.
        ([".wh.d", "d/.wh.x", "d/.wh..wh..opq"], ["a", "e", "e/x"]),
        (["d", "d/.wh.x"], ["a", "d", "e", "e/x"]),
        ([".wh.nothing", "nowhere/.wh.x"], sorted([*ALL, "nowhere"])),
    ],
)
def test_whiteouts_hide_what_lies_below(tmp_path, members, expected):
    seen, answer = shown(tmp_path, *members)
    assert "result" in answer, answer
    assert seen == expected


@pytest.mark.parametrize(
    "name",
    [".wh.", ".wh..", ".wh...", ".wh..wh.plnk/1.2", ".wh..wh..opq/x", ".wh.x/y", ".wh.x/", ".wh..wh.x"],
)
def test_what_only_looks_like_a_whiteout_is_refused(tmp_path, name):
    answer = jobs.unpack(layer(name), tmp_path)
    assert answer["error"].startswith("InvalidArgument: invalid layer: ")


def test_what_overlay_cannot_express_is_refused(tmp_path):
    assert (
        "Unsupported: a layer that hides everything" in jobs.unpack(layer(".wh..wh..opq"), tmp_path)["error"]
    )
    assert "is no file" in jobs.unpack(layer(".wh.x -> y"), tmp_path)["error"]


def test_a_root_file_system_has_no_whiteouts(tmp_path):
    assert (
        "is a whiteout of an image layer" in jobs.unpack(layer("d/.wh.x"), tmp_path, name="unpack")["error"]
    )


def test_directories_without_an_entry_are_reported(tmp_path):
    members = ["./a/b/c", "./a/", "d/e/.wh.x", "l -> /r/s", "l/file"]
    answer = jobs.unpack(layer(*members), tmp_path)["result"]
    assert answer["implied"] == ["", "a/b", "d", "d/e", "r", "r/s"]
    assert not answer["implied_cut"]
    assert (tmp_path / "r/s/file").exists()
    assert stat.S_IMODE((tmp_path / "r/s").stat().st_mode) == 0o755


def test_links_that_lead_out_are_text(tmp_path):
    """Images have them, and inside a container they lead nowhere out."""
    links = {"up": "../../../etc/x", "absolute": "/etc/x", "d/far": "../../../../proc", "loop": "loop"}
    answer = jobs.unpack(layer("d/", *(f"{name} -> {target}" for name, target in links.items())), tmp_path)
    assert answer["result"]["entries"] == 5
    assert {name: os.readlink(tmp_path / name) for name in links} == links


def entry(name, kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def binary(value: bytes) -> str:
    """A PAX value as tarfile wants it."""
    return value.decode("utf-8", "surrogateescape")


def test_directories_do_not_change_their_entries(tmp_path):
    """A set-group-id bit and a default ACL are inherited: what is unpacked must not be."""
    data = layer(
        entry("mail/", tarfile.DIRTYPE, mode=0o2775, gid=8, pax_headers={"mtime": "5.000000007"}),
        entry("acl/", tarfile.DIRTYPE, mode=0o755, pax_headers={f"SCHILY.xattr.{DEFAULT_ACL}": binary(ACL)}),
        entry("mail/box", mode=0o640),
        entry("mail/sub/", tarfile.DIRTYPE, mode=0o700),
        entry("acl/file", mode=0o644),
    )
    assert "result" in jobs.unpack(data, tmp_path)
    tree = describe(tmp_path)
    mail = tree["mail"]
    assert (mail["mode"], mail["owner"], mail["mtime"]) == ("0o42775", (0, 8), 5_000_000_007)
    assert (tree["mail/box"]["owner"], tree["mail/sub"]["owner"]) == ((0, 0), (0, 0))
    assert (tree["mail/box"]["mode"], tree["mail/sub"]["mode"]) == ("0o100640", "0o40700")
    assert tree["acl"]["xattrs"] == {DEFAULT_ACL: ACL}
    assert (tree["acl/file"]["mode"], tree["acl/file"]["xattrs"]) == ("0o100644", {})


def test_what_a_later_member_replaces_gets_nothing(tmp_path):
    """Times, bits and marks of directories come last: not to what took their place."""
    data = layer(
        entry("d/", tarfile.DIRTYPE, mode=0o2777, mtime=5),
        entry("d/e/", tarfile.DIRTYPE, mode=0o2777, mtime=6),
        "d/e/.wh..wh..opq",
        entry("real/", tarfile.DIRTYPE, mode=0o700, mtime=7),
        entry("real/e/", tarfile.DIRTYPE, mode=0o700, mtime=8),
        "d -> real",
    )
    assert "result" in jobs.unpack(data, tmp_path)
    tree = describe(tmp_path)
    assert sorted(tree) == [".", "d", "real", "real/e"]
    assert (tree["real"]["mode"], tree["real"]["mtime"]) == ("0o40700", 7 * 10**9)
    assert (tree["real/e"]["mode"], tree["real/e"]["mtime"]) == ("0o40700", 8 * 10**9)


def sparse_archive(tmp_path, *options):
    """GNU tar's archive of a sparse file of many stretches."""
    path = tmp_path / "holes"
    with open(path, "wb") as file:
        for number in range(40):
            file.seek(number << 20)
            file.write(b"%d" % number * 5000)
        file.truncate(100 << 20)
    command = ["tar", "--sparse", *options, "-C", str(tmp_path), "-cf", "-", "holes"]
    return path, subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


SPARSE = [["--format=gnu"]] + [["--format=posix", f"--sparse-version={it}"] for it in ("0.0", "0.1", "1.0")]


@pytest.mark.parametrize("options", SPARSE, ids=["old", "0.0", "0.1", "1.0"])
def test_holes_stay_holes(tmp_path, options):
    original, data = sparse_archive(tmp_path, *options)
    assert len(data) < 4 << 20
    target = tmp_path / "target"
    target.mkdir()
    assert jobs.unpack(data, target)["result"]["bytes"] == 100 << 20
    assert (target / "holes").read_bytes() == original.read_bytes()
    # Beside the data a file system counts what it needs to find them, which depends on what is free.
    assert (target / "holes").stat().st_blocks <= original.stat().st_blocks + 64


@pytest.mark.parametrize("options", SPARSE, ids=["old", "0.0", "0.1", "1.0"])
def test_cve_2017_14992_a_sparse_bomb_is_capped(tmp_path, options):
    """Ten gigabytes of nothing, in a kilobyte."""
    with open(tmp_path / "zeros", "wb") as file:
        file.truncate(10 << 30)
    command = ["tar", "--sparse", *options, "-C", str(tmp_path), "-cf", "-", "zeros"]
    data = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    target = tmp_path / "target"
    target.mkdir()
    answer = jobs.unpack(data, target, bytes=1 << 30)
    assert answer["error"] == f"InvalidArgument: archive unpacks to more than {1 << 30} bytes"
    assert not list(target.iterdir())


FORMATS = ["v7", "oldgnu", "gnu", "ustar", "posix"]


@pytest.mark.parametrize("format", FORMATS)
def test_trees_are_those_of_gnu_tar(tmp_path, format):
    zoo, theirs, ours = (tmp_path / name for name in ("zoo", "theirs", "ours"))
    for directory in (zoo, theirs, ours):
        directory.mkdir()
    make_zoo(zoo, format)
    xattrs = ["--xattrs", "--xattrs-include=*", "--acls"] if format == "posix" else []
    create = ["tar", f"--format={format}", *xattrs[:2], "-C", str(zoo), "--sort=name", "-cf", "-", "."]
    data = subprocess.run(create, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", *xattrs[:2], "-C", str(theirs), "-xpf", "-"], input=data, check=True)
    assert "result" in jobs.unpack(data, ours)
    assert describe(ours) == describe(theirs)
    if format == "posix":
        assert describe(ours) == describe(zoo)
