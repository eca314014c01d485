"""One store with images above it, without an engine: unpacking jobs run in processes of their own."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager

from onggi import errors
from onggi.images.service import Images
from onggi.images.transfers import Transfers
from onggi.registry.settings import Settings
from onggi.store import drivers
from onggi.store.content import Content
from onggi.store.database import Database
from onggi.store.gc import Collector
from onggi.store.host import HostView
from onggi.store.host_scan import Scanner
from onggi.store.layers import Layers
from onggi.store.layout import Layout
from onggi.store.schema import MIGRATIONS
from onggi.store.snapshots import Snapshots
from onggi.store.trash import Trash

JOB = """
import json, sys
from onggi.archive.jobs import TABLE
name, arguments, fds = json.loads(sys.argv[1])
try:
    answer = {"result": TABLE[name](fds, arguments)}
except BaseException as error:
    answer = {"error": [type(error).__name__, str(error)]}
print(json.dumps(answer))
"""


async def run_job(name, arguments, fds):
    command = [sys.executable, "-c", JOB, json.dumps([name, arguments, list(fds)])]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        *command, pass_fds=fds, env=environment, stdout=subprocess.PIPE
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.communicate()
        raise
    answer = json.loads(output)
    if "error" in answer:
        kind, message = answer["error"]
        raise getattr(errors, kind)(message)
    return answer["result"]


class Engine:
    def __init__(self, root, storage_driver):
        Layout(str(root)).create()
        self.database = Database(Layout(str(root)).database, MIGRATIONS)
        driver = drivers.choose(self.database, str(root), storage_driver)
        self.layout = Layout(str(root), driver.directory)
        self.layout.create()
        self.host = HostView(Scanner(self.layout.host_masks, shown=("/etc",)), [str(root)])
        self.trash = Trash(self.layout.trash)
        self.snapshots = Snapshots(self.database, self.layout, self.host, self.trash, driver)
        self.content = Content(self.database, self.layout, self.trash)
        self.collector = Collector(self.content, self.snapshots)
        self.collector.recover()
        self.layers = Layers(self.layout, self.snapshots, run_job)
        self.images = Images(self.content, self.collector, self.layers, self.host)
        self.transfers = Transfers(self.content, self.layers, self.images, self.layout.host_key, Settings())

    async def prepare(self, container_id, image):
        """The root of a new container's snapshot."""
        draft = await self.snapshots.draft(container_id, image)
        await self.database.run(draft.record)
        return draft.rootfs

    async def load(self, data, **options):
        async def chunks():
            for start in range(0, len(data), 4096):
                yield data[start : start + 4096]

        messages = [message async for message in self.transfers.import_(chunks(), **options)]
        return messages[-1]["status"]

    def files(self):
        """What lies in the store besides the database."""
        kept = [self.layout.snapshots, self.layout.ingest, self.layout.trash]
        found = [f"{os.path.basename(path)}/{name}" for path in kept for name in os.listdir(path)]
        blobs = [name for _, _, names in os.walk(self.layout.blobs) for name in names]
        return sorted(found + blobs)


@asynccontextmanager
async def engine(root, storage_driver=""):
    it = Engine(root, storage_driver)
    try:
        yield it
    finally:
        it.transfers.close()
        await it.content.close()
        await it.snapshots.close()
        it.trash.close()
        it.database.close()
        it.host.close()
