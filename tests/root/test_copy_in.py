"""The copying job: archives into directories that hold something already."""

import io
import os
import stat
import subprocess
import tarfile

import pytest

import jobs
from onggi.archive.look import follow


def archive(*members):
    """A tar of names: "d/" is a directory, "a -> b" a link, "a = b" a hard link, all else a file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name in members:
            info = tarfile.TarInfo(name.split(" ")[0])
            info.mode, info.uid, info.gid, info.mtime = 0o750, 7, 8, 9
            if " -> " in name or " = " in name:
                info.type = tarfile.SYMTYPE if " -> " in name else tarfile.LNKTYPE
                info.linkname = name.split(" ")[2]
            elif name.endswith("/"):
                info.type = tarfile.DIRTYPE
            else:
                info.size = 3
            out.addfile(info, io.BytesIO(b"new"))
    return buffer.getvalue()


def copy(data, root, path="/", *, keep_kinds=False, owner=None):
    stream = os.memfd_create("archive")
    with os.fdopen(os.dup(stream), "wb") as file:
        file.write(data)
    os.lseek(stream, 0, os.SEEK_SET)
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        arguments = {"path": path, "keep_kinds": keep_kinds, "owner": owner}
        return jobs.run("copy_in", arguments, [stream, root_fd])
    finally:
        os.close(stream)
        os.close(root_fd)


@pytest.fixture
def root(tmp_path):
    """A container's root beside a canary."""
    place = tmp_path / "root"
    (place / "d").mkdir(parents=True)
    (place / "file").write_text("old")
    (place / "d/kept").write_text("kept")
    (place / "run").mkdir()
    (place / "var").mkdir()
    (place / "var/run").symlink_to("/run")
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("untouched")
    yield place
    assert [(path.name, path.read_text()) for path in canary.iterdir()] == [("file", "untouched")]


def test_what_is_there_is_merged(root):
    assert copy(archive("d/", "d/file", "file", "new/", ".wh.x"), root) == {
        "result": {"entries": 5, "bytes": 9}
    }
    assert (root / "d/kept").read_text() == "kept"
    assert (
        (root / "d/file").read_text() == (root / "file").read_text() == (root / ".wh.x").read_text() == "new"
    )
    status = (root / "d").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime) == (7, 8, 0o750, 9)


def test_the_place_itself_stays_as_it_is(root):
    before = root.stat().st_mode, (root / "d").stat().st_mode
    assert "result" in copy(archive("./", "./x"), root, "/d")
    assert (root.stat().st_mode, (root / "d").stat().st_mode) == before
    assert (root / "d/x").read_text() == "new"


def test_absolute_links_of_the_container_work(root):
    assert "result" in copy(archive("pid", "sub/x"), root, "/var/run")
    assert "result" in copy(archive("run/pid2"), root, "/var/")
    assert sorted(path.name for path in (root / "run").iterdir()) == ["pid", "pid2", "sub"]


@pytest.mark.parametrize("link", ["../canary", "../../canary", "/../canary", "{canary}"])
def test_links_lead_nowhere_out(root, link):
    """Those of the container, and those of the archive."""
    link = link.format(canary=root.parent / "canary")
    (root / "l").symlink_to(link)
    copy(archive("l/file"), root)
    copy(archive("file"), root, "/l")
    copy(archive("l"), root)
    copy(archive(f"m -> {link}", "m/file", f"h = {link}/file", "h"), root)
    copy(archive("../canary/file", "x"), root, "/d")


def test_a_link_is_replaced_and_not_written_through(root):
    (root / "link").symlink_to("file")
    assert "result" in copy(archive("link"), root)
    assert not (root / "link").is_symlink()
    assert (root / "file").read_text() == "old"


def test_a_device_is_replaced_and_not_written_to(root):
    os.mkfifo(root / "pipe")  # opening it would hang
    assert "result" in copy(archive("pipe"), root)
    assert (root / "pipe").read_text() == "new"


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("d", 'cannot overwrite directory "/d" with non-directory "/"'),
        ("/d", 'cannot overwrite directory "/d" with non-directory "/"'),
        ("file/", 'cannot overwrite non-directory "/file/" with directory "/"'),
        ("d -> x", 'cannot overwrite directory "/d" with non-directory "/"'),
    ],
)
def test_kinds_are_kept_where_asked(root, member, message):
    assert copy(archive(member), root, keep_kinds=True) == {"error": f"InvalidArgument: {message}"}
    assert (root / "d/kept").exists()
    assert "result" in copy(archive(member), root)


def test_everything_belongs_to_the_owner_asked_for(root):
    assert "result" in copy(archive("e/", "e/f", "s -> x"), root, owner=[1234, 567])
    for name in ("e", "e/f", "s"):
        status = (root / name).lstat()
        assert (status.st_uid, status.st_gid) == (1234, 567)


def test_what_directories_pass_on_is_not_taken(root):
    (root / "d").chmod(0o2777)
    os.chown(root / "d", 0, 99)
    assert "result" in copy(archive("d/file", "d/sub/"), root)
    for name in ("d/file", "d/sub"):
        assert (root / name).stat().st_gid == 8


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nothing", "KernelError"),
        ("/file", "InvalidArgument: extraction point is not a directory"),
        ("/proc", "NotFound"),
        ("/", "InvalidArgument: /proc shows the kernel's state"),
    ],
)
def test_places_that_take_nothing(root, path, message):
    (root / "proc").mkdir()
    subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
    try:
        assert copy(archive("proc/x"), root, path)["error"].startswith(message)
    finally:
        subprocess.run(["umount", root / "proc"], check=True)


def test_what_is_mounted_is_not_deleted(root):
    """A volume is not emptied because a file comes with its name."""
    (root / "d/volume").mkdir()
    volume = root.parent / "volume"
    volume.mkdir()
    (volume / "data").write_text("precious")
    subprocess.run(["mount", "--bind", volume, root / "d/volume"], check=True)
    try:
        assert "result" not in copy(archive("d"), root)
        assert "result" not in copy(archive("d/volume"), root)
    finally:
        subprocess.run(["umount", root / "d/volume"], check=True)
    assert (volume / "data").read_text() == "precious"


LINKS = {"a": "/run", "b": "a/../b2", "b2": "c/x", "c": "../..", "loop": "loop", "d/up": "../a/deep/x"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a", "/run"),
        ("/b", "/x"),
        ("/d/up", "/run/deep/x"),
        ("/d/../a/./y", "/run/y"),
        ("/var/run", "/run"),
        ("/nothing/at/all", "/nothing/at/all"),
    ],
)
def test_where_links_lead(root, path, expected):
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    fd = os.open(root, os.O_PATH)
    try:
        assert follow(fd, path) == expected
    finally:
        os.close(fd)


def test_look(root):
    (root / "loop").symlink_to("loop")

    def look(path):
        fd = os.open(root, os.O_PATH)
        try:
            return jobs.run("look", {"path": path}, [fd])
        finally:
            os.close(fd)

    answer = look("/var/run")["result"]
    assert (stat.S_ISLNK(answer["mode"]), answer["link"]) == (True, "/run")
    assert stat.S_ISDIR(look("/var/run/")["result"]["mode"])
    assert stat.S_ISDIR(look("/var/run/.")["result"]["mode"])
    assert look("/file")["result"]["size"] == 3
    assert "no such file" in look("/none")["error"]
    assert "not a directory" in look("/file/")["error"]
    assert "too many" in look("/loop")["error"]
    assert stat.S_ISDIR(look("/")["result"]["mode"])
