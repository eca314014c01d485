"""What every storage driver does: one image, roots above it, none of which sees another."""

import asyncio
import contextlib
import io
import os
import stat
import subprocess
import tarfile
from errno import ENOSPC

import pytest
from stores import engine

from onggi.errors import Conflict, InvalidArgument, KernelError, NotFound, Unsupported
from onggi.kernel import mounts
from onggi.oci.image import Image
from onggi.store import drivers
from onggi.store.database import Database
from onggi.store.layout import Layout
from onggi.store.schema import MIGRATIONS

DRIVERS = drivers.NAMES
BASE = [
    ("etc/", 0o755),
    ("etc/gone", b"gone"),
    ("etc/kept", b"kept"),
    ("opt/", 0o2751),
    ("opt/old", b"old"),
    ("both/", 0o755),
    ("both/base", b"base"),
    ("file-then-directory", b"file"),
    ("directory-then-file/", 0o755),
    ("directory-then-file/x", b"x"),
    ("one", b"links"),
    ("two", "one"),
]
TOP = [
    ("etc/.wh.gone", b""),
    ("opt/.wh..wh..opq", b""),
    ("opt/new", b"new"),
    ("both/top", b"top"),
    ("file-then-directory/", 0o700),
    ("directory-then-file", b"file"),
    ("symlink", ("etc/kept",)),
]


def archive(members):
    """A tar; a name's content is bytes, a directory's mode, a hard link's target or (a symbolic one's,)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name, what in members:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.mtime, info.uid, info.gid, info.mode = 1234, 5, 6, 0o4755
            data = b""
            if isinstance(what, int):
                info.type, info.mode = tarfile.DIRTYPE, what
            elif isinstance(what, bytes):
                data, info.size = what, len(what)
                info.pax_headers = {"SCHILY.xattr.user.note": name}
            else:
                info.type = tarfile.LNKTYPE if isinstance(what, str) else tarfile.SYMTYPE
                info.linkname = what if isinstance(what, str) else what[0]
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


async def source(data):
    yield iter([data]), len(data)


async def image(it, *layers):
    """An image of layers, base first."""
    diff_ids = []
    for members in layers:
        async with it.layers.unpack(source(archive(members))) as layer:
            layer = await it.layers.settle(layer, diff_ids)
            parents = tuple(diff_ids)
            await it.database.run(
                lambda row, layer=layer, parents=parents: it.layers.record(row, layer, parents), durable=True
            )
            diff_ids.append(layer.diff_id)
    return Image("", {}, [], 0, "", diff_ids)


@contextlib.contextmanager
def view(rootfs):
    """A descriptor of the root as a container sees it."""
    if rootfs.kind == "directory":
        fd = os.open(rootfs.path, os.O_RDONLY)
    else:
        overlay = rootfs.overlays[0]
        mount = mounts.overlay(overlay.lowers, overlay.upper, overlay.work)
        fd = os.open(".", os.O_RDONLY, dir_fd=mount)
        os.close(mount)
    try:
        yield fd
    finally:
        os.close(fd)


def names(root, path="."):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
    try:
        return sorted({*os.listdir(fd)} - {"dev", "proc", "sys", "hostname", "hosts", "resolv.conf"})
    finally:
        os.close(fd)


def read(root, path):
    fd = os.open(path, os.O_RDONLY, dir_fd=root)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def write(root, path, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=root)
    os.write(fd, data)
    os.close(fd)


@pytest.fixture(params=DRIVERS)
def within(request, tmp_path):
    """Runs a scenario with a store of the driver."""

    def run(scenario):
        async def whole():
            async with engine(tmp_path / "root", request.param) as it:
                return await scenario(it)

        return asyncio.run(whole())

    (tmp_path / "root").mkdir()
    return run


def test_layers_are_merged(within):
    async def scenario(it):
        with view(await it.prepare("c", await image(it, BASE, TOP))) as root:
            assert names(root) == sorted({name.split("/")[0] for name, _ in [*BASE, *TOP]})
            assert [names(root, it) for it in ("etc", "opt", "both")] == [["kept"], ["new"], ["base", "top"]]
            assert names(root, "file-then-directory") == []
            assert read(root, "directory-then-file") == b"file"
            assert os.readlink("symlink", dir_fd=root) == "etc/kept"

    within(scenario)


def test_files_are_as_the_archive_says(within):
    async def scenario(it):
        with view(await it.prepare("c", await image(it, BASE, TOP))) as root:
            status = os.stat("etc/kept", dir_fd=root)
            assert stat.S_IMODE(status.st_mode) == 0o4755
            assert (status.st_uid, status.st_gid, status.st_mtime) == (5, 6, 1234)
            fd = os.open("etc/kept", os.O_RDONLY, dir_fd=root)
            assert os.getxattr(fd, "user.note") == b"etc/kept"
            os.close(fd)
            status = os.stat("opt", dir_fd=root)  # only implied by the top layer
            assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o2751, 5)

    within(scenario)


def test_mount_points_are_there_and_the_root_is_the_images(within):
    async def scenario(it):
        made = await image(it, [("./", 0o2750), *BASE])
        with view(await it.prepare("c", made)) as root:
            assert {"dev", "proc", "sys"} <= {*os.listdir(root)}
            assert os.stat("etc/hosts", dir_fd=root).st_size == 0
            status = os.stat(".", dir_fd=root)
            assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2750, 5, 6)
            assert stat.S_IMODE(os.stat("etc", dir_fd=root).st_mode) == 0o755

    within(scenario)


def test_hard_links_within_a_layer_are_links(within):
    async def scenario(it):
        with view(await it.prepare("c", await image(it, BASE))) as root:
            one, two = (os.stat(name, dir_fd=root) for name in ("one", "two"))
            assert (one.st_ino, one.st_nlink) == (two.st_ino, 2)

    within(scenario)


def test_what_one_container_writes_no_other_sees(within):
    async def scenario(it):
        made = await image(it, BASE)
        with view(await it.prepare("a", made)) as root:
            write(root, "etc/kept", b"changed")
            write(root, "new", b"new")
            os.unlink("etc/gone", dir_fd=root)
        for name, kept in (("b", b"kept"), ("a", b"changed")):
            rootfs = await it.prepare(name, made)
            assert await it.snapshots.rootfs(name) == rootfs
            with view(rootfs) as root:
                assert read(root, "etc/kept") == kept
                assert ("new" in names(root)) == (name == "a")
        assert await it.snapshots.usage("a") > 0

    within(scenario)


def test_layers_are_unpacked_once(within):
    async def scenario(it):
        made = await image(it, BASE, TOP)
        before = len(os.listdir(it.layout.snapshots))
        assert before == 2
        await image(it, BASE)
        await it.prepare("a", made)
        await it.prepare("b", made)
        assert len(os.listdir(it.layout.snapshots)) == before + 2

    within(scenario)


def test_what_is_removed_leaves_nothing_and_its_layers_stay(within):
    async def scenario(it):
        made = await image(it, BASE)
        with view(await it.prepare("c", made)) as root:
            write(root, "new", b"new")
        await it.snapshots.remove("c")
        await it.snapshots.remove("c")
        with pytest.raises(NotFound):
            await it.snapshots.rootfs("c")
        await it.collector.run()
        it.trash.close()
        assert it.files() == []

    within(scenario)


def test_a_container_keeps_the_layers_it_stands_on(within):
    async def scenario(it):
        await it.prepare("c", await image(it, BASE, TOP))
        assert (await it.collector.run()).layers == []
        with view(await it.snapshots.rootfs("c")) as root:
            assert read(root, "etc/kept") == b"kept"

    within(scenario)


def test_a_copy_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(layers, target):
        os.mkdir(f"{target}/half")
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    async def scenario():
        async with engine(tmp_path, "copy") as it:
            made = await image(it, BASE)
            with monkeypatch.context() as patch:
                patch.setattr("onggi.archive.merging.merge", full)
                with pytest.raises(KernelError, match="no space left on device"):
                    await it.prepare("c", made)
            it.trash.close()
            assert len(os.listdir(it.layout.snapshots)) == 1
            with view(await it.prepare("c", made)) as root:
                assert read(root, "etc/kept") == b"kept"

    asyncio.run(scenario())


# -- the choice ----------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path):
    Layout(str(tmp_path)).create()
    it = Database(Layout(str(tmp_path)).database, MIGRATIONS)
    yield it
    it.close()


def test_the_driver_is_chosen_once(database, tmp_path, monkeypatch):
    assert drivers.choose(database, str(tmp_path), "").name == "overlay2"
    monkeypatch.setattr(drivers, "why_no_overlay", lambda root: "no")
    assert drivers.choose(database, str(tmp_path), "").name == "overlay2"
    assert drivers.choose(database, str(tmp_path), "overlay2").name == "overlay2"
    with pytest.raises(Conflict, match="was made with the storage driver overlay2, not copy"):
        drivers.choose(database, str(tmp_path), "copy")
    assert sorted(os.listdir(tmp_path)) == sorted({*os.listdir(tmp_path)} - {"probe"})


def test_an_unknown_driver_is_refused_in_dockers_words(database, tmp_path):
    with pytest.raises(InvalidArgument, match=r"^error initializing graphdriver: driver not supported: zfs$"):
        drivers.choose(database, str(tmp_path), "zfs")


def test_on_an_overlay_there_is_only_copy(tmp_path):
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    merged = str(tmp_path / "merged")
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)

    async def scenario():
        Layout(merged).create()
        database = Database(Layout(merged).database, MIGRATIONS)
        with pytest.raises(Unsupported, match="driver not supported: overlay2: "):
            drivers.choose(database, merged, "overlay2")
        database.close()
        async with engine(merged) as it:
            assert it.snapshots.driver.name == "copy"
            with view(await it.prepare("c", await image(it, BASE, TOP))) as root:
                assert [names(root, it) for it in ("etc", "opt")] == [["kept"], ["new"]]
            with pytest.raises(Unsupported, match="needs overlay mounts"):
                await it.prepare("host", await it.images.get("host"))
            assert len(os.listdir(it.layout.snapshots)) == 3

    try:
        asyncio.run(scenario())
    finally:
        subprocess.run(["umount", merged], check=True)
