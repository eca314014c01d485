"""Layers: unpacked once, above each other, with what they only imply taken from below."""

import asyncio
import contextlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from stores import engine

from onggi.errors import InvalidArgument, Unavailable
from onggi.kernel import mounts
from onggi.oci.digest import chain_ids
from onggi.oci.image import Image
from onggi.store import durable, implied


def run(scenario):
    return asyncio.run(scenario())


def archive(*members):
    """A tar of ``name`` (a directory if it ends in ``/``) or (name, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for member in members:
            name, content = member if isinstance(member, tuple) else (member, b"")
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type, info.mode = (
                (tarfile.DIRTYPE, 0o755) if name.endswith("/") else (tarfile.REGTYPE, 0o644)
            )
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


async def source(data, size=1000):
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        yield iter([piece]), len(piece)


async def add(it, lease, data, parents=()):
    """Unpack a layer and give it its row; returns its diff id."""
    async with it.layers.unpack(source(data)) as layer:
        layer = await it.layers.settle(layer, parents)
        await lease.have_layer(chain_ids([*parents, layer.diff_id])[-1])
        await it.database.run(lambda row: it.layers.record(row, layer, parents), durable=True)
        return layer.diff_id


@contextlib.contextmanager
def view(overlay):
    """A descriptor of the merged directory."""
    mount = mounts.overlay(overlay.lowers, overlay.upper, overlay.work)
    fd = os.open(".", os.O_RDONLY, dir_fd=mount)
    os.close(mount)
    try:
        yield fd
    finally:
        os.close(fd)


def names(root, path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def test_an_image_of_127_layers_is_one_view(tmp_path):
    async def scenario():
        async with engine(tmp_path) as it, it.content.lease() as lease:
            diff_ids = []
            for number in range(mounts.MAX_LAYERS):
                data = archive(("same", b"%d" % number), (f"only{number}", b""))
                diff_ids.append(await add(it, lease, data, tuple(diff_ids)))
            rows = await it.database.run(lambda row: row.execute("SELECT parent FROM layers").fetchall())
            assert {row[0] for row in rows} == {None, *chain_ids(diff_ids)[:-1]}
            root = await it.prepare("c", Image("", {}, [], 0, "", diff_ids))
            overlay = root.overlays[0]
            with view(overlay) as fd:
                assert len([name for name in os.listdir(fd) if name.startswith("only")]) == 127
                same = os.open("same", os.O_RDONLY, dir_fd=fd)
                assert os.read(same, 10) == b"126"
                os.close(same)

    run(scenario)


def test_the_same_layer_above_another_is_another(tmp_path):
    async def scenario():
        async with engine(tmp_path) as it, it.content.lease() as lease:
            one = await add(it, lease, archive("one"))
            two = await add(it, lease, archive("two"), (one,))
            assert await add(it, lease, archive("two")) == two
            assert await add(it, lease, archive("two"), (one,)) == two  # found, not made again
            assert len(os.listdir(it.layout.snapshots)) == 3

    run(scenario)


def test_a_job_that_refuses_stops_the_stream(tmp_path):
    async def scenario():
        taken = 0

        async def endless():
            nonlocal taken
            for piece in [archive("../out"), *[bytes(1 << 20)] * 10_000]:
                taken += 1
                yield iter([piece]), len(piece)

        async with engine(tmp_path) as it:
            with pytest.raises(InvalidArgument, match="leads out of the root file system"):
                async with it.layers.unpack(endless()):
                    pass
            assert taken < 1000
            assert it.files() == []

    run(scenario)


def test_a_job_that_is_lost_is_an_error(tmp_path):
    async def lost(name, arguments, fds):
        await asyncio.sleep(0)
        raise Unavailable(f"the job {name} was killed")

    async def scenario():
        async with engine(tmp_path) as it:
            it.layers._run_job = lost
            with pytest.raises(Unavailable, match="was killed"):
                async with it.layers.unpack(source(archive(("a", bytes(4 << 20))))):
                    pass
            assert it.files() == []

    run(scenario)


def test_a_small_archive_that_becomes_huge_is_refused(tmp_path):
    async def bomb():
        piece = bytes(1 << 20)
        yield iter([archive(("zeros", b""))[:512]]), 100
        yield (piece for _ in range(3 << 10)), 1000

    async def scenario():
        async with engine(tmp_path) as it:
            with pytest.raises(InvalidArgument):
                async with it.layers.unpack(bomb()):
                    pass
            assert it.files() == []

    run(scenario)


# -- directories that are only implied -----------------------------------------------------------------------


class Tree:
    """A layer's directory, made by hand."""

    def __init__(self, path):
        self.path = path
        path.mkdir()

    def directory(self, name, mode=0o755, uid=0, gid=0, **xattrs):
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        for key, value in xattrs.items():
            os.setxattr(path, key.replace("_", "."), value)
        os.chown(path, uid, gid)
        os.chmod(path, mode)
        os.utime(path, (1000, 1000))
        return path

    def opaque(self, name):
        return self.directory(name, trusted_overlay_opaque=b"y")

    def whiteout(self, name):
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        os.mknod(self.path / name, stat.S_IFCHR, 0)

    def adopt(self, below, *names):
        fd = os.open(self.path, os.O_RDONLY)
        try:
            implied.adopt(fd, [str(tree.path) for tree in below], names)
        finally:
            os.close(fd)

    def facts(self, name):
        status = os.stat(self.path / name)
        return (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime)


@pytest.fixture
def trees(tmp_path):
    return [Tree(tmp_path / name) for name in ("top", "middle", "base")]


def test_the_nearest_layer_that_has_the_directory_decides(trees):
    top, middle, base = trees
    base.directory("a", 0o700, 1, 2)
    base.directory("a/b", 0o2775, 3, 4, user_note=b"x")
    middle.directory("a", 0o711, 5, 6, trusted_overlay_opaque=b"n")
    top.directory("a/b")
    top.adopt([middle, base], "a", "a/b")
    assert top.facts("a") == (0o711, 5, 6, 1000)
    assert top.facts("a/b") == (0o2775, 3, 4, 1000)
    assert os.listxattr(top.path / "a") == []
    assert os.getxattr(top.path / "a/b", "user.note") == b"x"


def test_the_root_is_a_directory_too(trees):
    top, middle, _ = trees
    middle.directory(".", 0o700, 7, 7)
    top.adopt([middle], "")
    assert top.facts(".") == (0o700, 7, 7, 1000)


@pytest.mark.parametrize("hide", [lambda it: it.whiteout("a"), lambda it: (it.path / "a").touch()])
def test_what_is_hidden_below_is_not_looked_for_further_down(trees, hide):
    top, middle, base = trees
    base.directory("a/b", 0o700, 1, 1)
    hide(middle)
    top.directory("a/b")
    before = top.facts("a"), top.facts("a/b")
    top.adopt([middle, base], "a", "a/b")
    assert (top.facts("a"), top.facts("a/b")) == before


@pytest.mark.parametrize("index", [0, 1], ids=["in this layer", "below"])
def test_an_opaque_directory_hides_what_is_in_it_but_not_itself(trees, index):
    top, _, base = trees
    base.directory("a", 0o711, 1, 1)
    base.directory("a/b", 0o700, 1, 1)
    top.directory("a/b", 0o755)
    trees[index].opaque("a")
    top.adopt(trees[1:], "a/b")
    assert top.facts("a/b")[:3] == (0o755, 0, 0)


def test_links_of_a_lower_layer_are_not_followed(trees, tmp_path):
    top, middle, _ = trees
    Tree(tmp_path / "elsewhere").directory("b", 0o700, 9, 9)
    os.symlink(tmp_path / "elsewhere", middle.path / "a")
    top.directory("a/b")
    top.adopt([middle], "a", "a/b")
    assert top.facts("a/b")[:3] == (0o755, 0, 0)


def test_changed_directories_are_synced(trees, monkeypatch):
    top, _, base = trees
    synced = []
    monkeypatch.setattr(durable.os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    monkeypatch.setattr(durable.syscalls, "syncfs", lambda fd: synced.append("all"))
    names = [f"d{number}" for number in range(20)]
    for tree in (top, base):
        for name in names:
            tree.directory(name)
    top.adopt([base], "d1", "d2", "absent")
    assert [Path(path).name for path in synced] == ["d1", "d2"]
    top.adopt([base], *names)
    assert synced[2:] == ["all"]


def test_whiteouts_hide_and_implied_directories_are_as_below(tmp_path):
    async def scenario():
        async with engine(tmp_path) as it, it.content.lease() as lease:
            base = await add(it, lease, archive("etc/", "etc/gone", "etc/kept", "opt/", "opt/old"))
            os.chmod(f"{it.layout.snapshot(1)}/fs", 0o750)
            os.chmod(f"{it.layout.snapshot(1)}/fs/etc", 0o711)
            data = archive("etc/.wh.gone", "etc/hosts", "opt/.wh..wh..opq", "opt/new")
            top = await add(it, lease, data, (base,))
            root = await it.prepare("c", Image("", {}, [], 0, "", [base, top]))
            with view(root.overlays[0]) as fd:
                assert {"etc", "opt"} <= {*os.listdir(fd)}
                assert sorted(names(fd, "etc")) == ["hostname", "hosts", "kept", "resolv.conf"]
                assert sorted(names(fd, "opt")) == ["new"]
                assert [stat.S_IMODE(os.stat(it, dir_fd=fd).st_mode) for it in (".", "etc")] == [0o750, 0o711]

    run(scenario)


def test_whiteouts_have_no_place_in_a_whole_file_system(tmp_path):
    async def scenario():
        async with engine(tmp_path) as it:
            with pytest.raises(InvalidArgument, match="whiteout"):
                async with it.layers.unpack(source(archive("etc/.wh.gone")), whole=True):
                    pass

    run(scenario)
