"""A store with its registry storage, for the tests of what a registry serves."""

import asyncio
import json
from pathlib import Path

from onggi.images import pushed
from onggi.images.catalog import Catalog
from onggi.images.layering import keep_blob
from onggi.images.recording import NewImage, record
from onggi.images.serving import Serving
from onggi.oci import media
from onggi.oci import reference as references
from onggi.registry.server.names import digest_of
from onggi.store.content import Content
from onggi.store.database import Database
from onggi.store.gc import Collector
from onggi.store.host import HostView
from onggi.store.host_scan import Scanner
from onggi.store.layout import Layout
from onggi.store.mountpoints import MountPoints
from onggi.store.overlays import OverlayDriver
from onggi.store.schema import MIGRATIONS
from onggi.store.snapshots import Snapshots
from onggi.store.trash import Trash

LAYER = b"layer"


class World:
    """A store and its registry."""

    def __init__(self, root: Path) -> None:
        layout = Layout(str(root))
        layout.create()
        self.database = Database(layout.database, [*MIGRATIONS, *pushed.MIGRATIONS])
        self.host = HostView(Scanner(layout.host_masks, shown=()), [layout.root])
        self.trash = Trash(layout.trash)
        snapshots = Snapshots(self.database, layout, self.host, self.trash, OverlayDriver(MountPoints("")))
        self.content = Content(self.database, layout, self.trash)
        self.collector = Collector(self.content, snapshots, [pushed.keep])
        self.collector.recover()
        self.catalog = Catalog(self.content.blobs)
        self.serving = Serving(self.content, self.collector, self.catalog)

    def close(self):
        self.trash.close()
        self.database.close()
        self.host.close()

    def execute(self, statement, *arguments):
        return self.database.run_blocking(lambda it: it.execute(statement, arguments).fetchall())

    def blobs(self):
        return {row[0] for row in self.execute("SELECT digest FROM blobs")}

    async def push(self, data, repository="a", digest=""):
        upload = await self.serving.upload(repository)
        await upload.append(pieces(data))
        await upload.finish(digest or digest_of(data))
        return digest or digest_of(data)

    async def image(self, name="docker.io/library/demo:1", base=None):
        """An image of one layer; no file system is unpacked for it."""
        diff_id = digest_of(b"plain " + name.encode())
        config = json.dumps(
            {"os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}, "n": name}
        ).encode()
        async with self.content.lease() as lease:
            image_id, layer = await lease.put(config), await lease.put(LAYER + name.encode())

            def write(connection):
                number = 1 + connection.execute("SELECT count(*) FROM layers").fetchone()[0]
                connection.execute(
                    "INSERT INTO layers VALUES (?, NULL, ?, ?, 0, 0, NULL)", (diff_id, diff_id, number)
                )
                keep_blob(connection, layer, diff_id, media.OCI_LAYER_GZIP)
                new = NewImage(image_id, [diff_id], base=base, names=[references.parse(name)])
                record(connection, self.catalog, new)

            await self.database.run(write, durable=True)
        return image_id, layer


async def pieces(data, size=100_000):
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def whole(blob, start=0, end=None):
    """The bytes of a blob that is served."""
    return b"".join([it async for it in blob.read(start, blob.size if end is None else end)])


def run(scene):
    """The result of a coroutine function."""
    return asyncio.run(scene())
