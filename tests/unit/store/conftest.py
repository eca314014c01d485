"""``store``: the parts below the services, in a temporary directory, without root."""

import asyncio
import os
from pathlib import Path

import pytest

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


class Store:
    """One store; ``restart`` is what the next process finds."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(str(root))
        self.layout.create()
        self._open()

    def _open(self) -> None:
        self.database = Database(self.layout.database, MIGRATIONS)
        self.host = HostView(Scanner(self.layout.host_masks, shown=()), [self.layout.root])
        self.trash = Trash(self.layout.trash)
        self.snapshots = Snapshots(
            self.database, self.layout, self.host, self.trash, OverlayDriver(MountPoints(""))
        )
        self.content = Content(self.database, self.layout, self.trash)
        self.collector = Collector(self.content, self.snapshots)
        self.collector.recover()

    def close(self) -> None:
        self.trash.close()
        self.database.close()
        self.host.close()

    def restart(self) -> None:
        self.close()
        self._open()
        self.trash.empty()

    def run(self, scenario):
        """The result of a coroutine function."""

        async def whole():
            try:
                return await scenario()
            finally:
                await self.content.close()

        return asyncio.run(whole())

    def execute(self, statement, *arguments):
        return self.database.run_blocking(lambda it: it.execute(statement, arguments).fetchall())

    def rows(self, table="blobs"):
        return {row[0] for row in self.execute(f"SELECT * FROM {table}")}

    def files(self):
        """Digests of the files among the blobs."""
        return {"sha256:" + os.path.basename(path) for path in self.content.blobs.files()}

    def partials(self):
        return sorted(os.listdir(self.layout.ingest))


@pytest.fixture
def store(tmp_path):
    it = Store(tmp_path / "root")
    yield it
    it.close()
