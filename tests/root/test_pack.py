"""The packing job: archives of trees that GNU tar and our own unpacking turn into the same trees."""

import io
import os
import stat
import subprocess
import tarfile

import pytest

import jobs
from tree import describe, make_zoo


def pack(root, path="/", name=None, job="pack"):
    """(archive, answer) of a packing job."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        return jobs.streamed(job, {"path": path, "name": name}, [root_fd])
    finally:
        os.close(root_fd)


def names_in(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


@pytest.fixture
def zoo(tmp_path):
    place = tmp_path / "zoo"
    place.mkdir()
    make_zoo(place, "posix")
    os.link(place / "d/link", place / "link to a link")
    with open(place / "big", "wb") as file:
        file.write(os.urandom(3_000_001))
    return place


def test_an_export_unpacks_to_the_same_tree(tmp_path, zoo):
    data, answer = pack(zoo)
    assert answer["result"]["entries"] == len(describe(zoo)) - 1
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    assert "result" in jobs.unpack(data, ours)
    subprocess.run(
        ["tar", "--xattrs", "--xattrs-include=*", "-C", theirs, "-xpf", "-"], input=data, check=True
    )
    ours, theirs, wanted = (describe(root) for root in (ours, theirs, zoo))
    for tree in (ours, theirs, wanted):
        del tree["."]  # an export has no member for its root
    assert ours == theirs
    for facts in wanted.values():
        facts["mtime"] = facts["mtime"] // 10**9 * 10**9
    assert ours == wanted


def test_the_same_tree_is_the_same_archive(zoo):
    assert pack(zoo) == pack(zoo)
    names = [name for name in names_in(pack(zoo)[0]) if "/" not in name]
    assert names == sorted(names, key=os.fsencode)


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("/dir", "dir", ["dir", "dir/a", "dir/b"]),
        ("/dir/", "dir", ["dir", "dir/a", "dir/b"]),
        ("/dir/.", ".", [".", "./a", "./b"]),
        ("/dir/a", "a", ["a"]),
        ("/link", "link", ["link"]),
        ("/link/", "link", ["link", "link/a", "link/b"]),
        ("/link/.", ".", [".", "./a", "./b"]),
        ("/up/dir/a", "a", ["a"]),
        ("/fifo", "new", ["new"]),
        ("/", "/", ["/", "/dir", "/dir/a", "/dir/b", "/fifo", "/link", "/up"]),
    ],
)
def test_names_are_those_of_docker(tmp_path, path, name, expected):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/a").touch()
    (tmp_path / "dir/b").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dir")
    (tmp_path / "up").symlink_to("../..")
    data, answer = pack(tmp_path, path, name)
    assert "result" in answer, answer
    names = [entry.name.rstrip(b"/").decode() or "/" for entry in entries(data)]
    assert names == expected


def entries(data):
    from onggi.archive import tar

    fd = os.memfd_create("archive")
    with os.fdopen(fd, "wb+") as file:
        file.write(data)
        file.flush()
        os.lseek(fd, 0, os.SEEK_SET)
        reader, found = tar.Reader(fd), []
        while entry := reader.next():
            found.append(entry)
    return found


@pytest.mark.parametrize("path", ["/nothing", "/nothing/x", "/file/x", "/file/", "/proc"])
def test_what_is_not_there(tmp_path, path):
    (tmp_path / "file").touch()
    (tmp_path / "proc").mkdir()
    subprocess.run(["mount", "-t", "proc", "proc", tmp_path / "proc"], check=True)
    try:
        _, answer = pack(tmp_path, path, "x")
    finally:
        subprocess.run(["umount", tmp_path / "proc"], check=True)
    assert answer["error"].startswith(("NotFound", "KernelError"))


def test_the_kernels_file_systems_are_empty(tmp_path):
    (tmp_path / "proc").mkdir()
    subprocess.run(["mount", "-t", "proc", "proc", tmp_path / "proc"], check=True)
    try:
        data, _ = pack(tmp_path)
    finally:
        subprocess.run(["umount", tmp_path / "proc"], check=True)
    assert names_in(data) == ["proc"]


def test_devices_and_sockets_are_never_opened(tmp_path):
    """A pipe would hang, a watchdog would reset the machine."""
    os.mknod(tmp_path / "disk", stat.S_IFBLK | 0o600, os.makedev(240, 250))
    os.mkfifo(tmp_path / "fifo")
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    data, answer = pack(tmp_path)
    assert answer["result"]["entries"] == 2
    assert names_in(data) == ["disk", "fifo"]


def test_deep_trees(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    _, answer = pack(tmp_path)
    assert answer["result"]["entries"] == 1500
    for _ in range(600):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    _, answer = pack(tmp_path)
    assert "too long for an archive" in answer["error"]
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)
