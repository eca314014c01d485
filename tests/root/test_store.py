"""Import, snapshots and removal on a real file system."""

import asyncio
import gzip
import io
import os
import tarfile
from errno import ENOSPC
from pathlib import Path

import pytest
from stores import engine

from onggi.errors import Conflict, InvalidArgument, KernelError, NotFound
from onggi.kernel import mounts
from onggi.store.rootfs import Overlay, Rootfs
from onggi.store.snapshots import mount_again


def rootfs(text=b"hello"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        info = tarfile.TarInfo("dir/file")
        info.size = len(text)
        out.addfile(info, io.BytesIO(text))
    return buffer.getvalue()


def run(scenario):
    return asyncio.run(scenario())


def test_import_get_run_and_remove(tmp_path):
    async def scenario():
        async with engine(tmp_path) as it:
            image_id = await it.load(gzip.compress(rootfs()), reference="me/it", changes=['CMD ["x"]'])
            image = await it.images.get("me/it")
            assert image.id == image_id == (await it.images.get(image_id[7:19])).id
            assert (await it.images.inspect("me/it"))["Config"]["Cmd"] == ["x"]
            root = await it.prepare("c1", image)
            assert Path(root.overlays[0].lowers[-1], "dir/file").read_bytes() == b"hello"
            assert await it.prepare("c1", image) == root
            assert await it.snapshots.rootfs("c1") == root
            assert await it.images.remove("me/it", force=True) == [
                {"Untagged": "me/it:latest"},
                {"Deleted": image_id},
            ]
            assert await it.snapshots.rootfs("c1") == root  # its layer stays while it exists
            await it.snapshots.remove("c1")
            await it.snapshots.remove("c1")
        async with engine(tmp_path) as it:
            it.trash.empty()
            assert it.files() == []

    run(scenario)


def test_equal_layers_are_kept_once(tmp_path):
    async def scenario():
        async with engine(tmp_path) as it:
            await it.load(rootfs(), reference="a")
            await it.load(gzip.compress(rootfs()), reference="b")
            layers = [name for name in it.files() if name.startswith("overlay/")]
            assert len(layers) == 1
            await it.images.remove("a")
            assert (await it.images.get("b")).layers
            await it.images.tag("b", "c", "1")
            records = await it.images.remove("b")
            assert records == [{"Untagged": "b:latest"}]
            records = await it.images.remove("c:1")
            assert [next(iter(it)) for it in records] == ["Untagged", "Deleted", "Deleted"]
            it.trash.close()
            assert it.files() == []

    run(scenario)


@pytest.mark.parametrize("data", [rootfs()[:700], gzip.compress(rootfs(), mtime=0)[:-9], b"nonsense" * 100])
def test_a_bad_archive_leaves_nothing(tmp_path, data):
    async def scenario():
        async with engine(tmp_path) as it:
            with pytest.raises(InvalidArgument):
                await it.load(data, reference="bad")
            assert it.files() == []
            with pytest.raises(NotFound, match=r"^No such image: bad:latest$"):
                await it.images.get("bad")

    run(scenario)


def test_a_client_that_goes_away_leaves_nothing(tmp_path):
    async def scenario():
        started = asyncio.Event()

        async def endless():
            while True:
                yield rootfs()[:1024] if not started.is_set() else bytes(1 << 16)
                started.set()
                await asyncio.sleep(0)

        async with engine(tmp_path) as it:
            messages = it.transfers.import_(endless(), reference="x")
            asking = asyncio.ensure_future(anext(messages))  # an import says nothing before its end
            await asyncio.wait_for(started.wait(), 30)
            asking.cancel()
            await asyncio.wait([asking])
            await messages.aclose()
            assert it.files() == []

    run(scenario)


def test_the_name_host_is_taken(tmp_path):
    async def scenario():
        async with engine(tmp_path) as it:
            image = await it.images.get("host")
            assert (await it.images.get(image.id)).base == "host"
            for call in (
                it.load(b"", reference="host"),
                it.images.remove("host"),
                it.images.tag("host", "x"),
            ):
                with pytest.raises(Conflict, match="host"):
                    await call
            assert [line["RepoTags"] for line in await it.images.list()] == [["host:latest"]]
            root = await it.prepare("c", image)
            assert root.overlays[0].lowers == ["/"]
            assert root.overlays[0].nested
            assert {"/etc/shadow", "/root", "/home"} <= {mask.path for mask in root.overlays[0].masks}

    run(scenario)


def test_large_and_deep_trees_go_too(tmp_path):
    async def scenario():
        async with engine(tmp_path) as it:
            image = await it.images.get("host")
            upper = (await it.prepare("c", image)).overlays[0].upper
            for number in range(200):
                Path(f"{upper}/{number}").write_bytes(b"ab")
            here = os.open(upper, os.O_RDONLY)
            for _ in range(1500):  # deeper than a path can name and than a process may hold descriptors
                os.mkdir("deeper", dir_fd=here)
                below = os.open("deeper", os.O_RDONLY, dir_fd=here)
                os.close(here)
                here = below
            os.close(here)
            assert await it.snapshots.usage("c") == 400
            await it.snapshots.remove("c", durable=False)
            it.trash.close()
            assert it.files() == []

    run(scenario)


def test_a_removal_that_failed_is_tried_again(tmp_path):
    async def scenario():
        async with engine(tmp_path) as it:
            root = await it.prepare("c", await it.images.get("host"))
            release = it.snapshots.release("c")

            def fail(connection):
                release.drop(connection)
                raise KernelError("write", ENOSPC, "meta.db")

            with pytest.raises(KernelError):
                await it.snapshots.database.run(fail, durable=True)
            assert await it.snapshots.rootfs("c") == root
            await it.snapshots.remove("c")
            assert list(it.snapshots.numbers) == it.files() == []

    run(scenario)


def test_orphans_go_at_start(tmp_path):
    async def scenario():
        async with engine(tmp_path) as it:
            image = await it.images.get("host")
            await it.prepare("kept", image)
            os.makedirs(f"{it.layout.snapshots}/77/fs")
            Path(it.layout.ingest, "part").write_text("x")
        async with engine(tmp_path) as it:
            it.trash.empty()
            assert it.files() == ["overlay/1"]
            assert list(it.snapshots.numbers) == ["kept"]
            assert (await it.prepare("new", image)).overlays[0].upper.endswith("/78/fs")

    run(scenario)


def test_a_volatile_root_is_mounted_again_in_the_same_boot(tmp_path):
    for name in ("lower", "fs", "work"):
        (tmp_path / name).mkdir()
    lower, upper, work = (str(tmp_path / name) for name in ("lower", "fs", "work"))

    def mount():
        os.close(mounts.overlay([lower], upper, work, volatile=True))

    mount()
    with pytest.raises(KernelError):
        mount()
    for volatile in (True, False):  # a restart does without --rm for its time
        mount_again(Rootfs("overlay", [Overlay("/", [lower], upper, work, volatile=volatile)]))
        mount()
