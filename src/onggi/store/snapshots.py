"""The writable side of containers, above the layers of their image; ``drivers`` says how.

Short numbers name snapshots, so that option strings of overlays stay short. Preparing makes directories
first and the row second; removing drops the row first and the files second, so that a kill leaves at most
files without a row, which ``recover`` deletes. Nothing here is synced: what a container wrote need not
survive a power loss before it was synced by the container itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from onggi.archive import trees
from onggi.errors import DataLoss, KernelError, NotFound, Unsupported
from onggi.oci.digest import chain_ids
from onggi.oci.image import HOST, Image
from onggi.store.database import Database
from onggi.store.drivers import Driver
from onggi.store.host import HostView
from onggi.store.layout import Layout
from onggi.store.rootfs import Mask, Overlay, Rootfs, Spec
from onggi.store.trash import Trash

__all__ = ["Draft", "Mask", "Overlay", "Release", "Rootfs", "Snapshots"]

_QUICK_ENTRIES = 64  # a tree of at most so many entries is deleted before the answer


Row = tuple[int, str, str, bytes]


class Draft(NamedTuple):
    """A snapshot whose directories exist; ``record`` writes its ``row`` in the caller's transaction."""

    rootfs: Rootfs
    row: Row | None
    record: Callable[[sqlite3.Connection], None]


class Release(NamedTuple):
    """A snapshot to be removed: its row in the caller's transaction, then its files, from any thread."""

    drop: Callable[[sqlite3.Connection], None]
    discard: Callable[[], None]


class Snapshots:
    """Plans and keeps root file systems of containers."""

    def __init__(
        self, database: Database, layout: Layout, host: HostView, trash: Trash, driver: Driver
    ) -> None:
        self.database, self._layout, self._host, self._trash = database, layout, host, trash
        self.driver = driver
        self._layers: dict[str, str] = {}  # chain id -> directory
        self.numbers: dict[str, int] = {}  # container id -> number, until its files are gone
        self._next = 1
        self._unpacking: set[int] = set()  # layers that have no row yet
        self._background: set[asyncio.Task[object]] = set()

    def recover(self) -> None:
        """At start, before any call: put files without rows aside. Blocking.

        Rows of containers that no longer exist are the caller's to name, see ``numbers`` and ``remove``.
        """
        rows = self.database.run_blocking(_rows)
        self.numbers = {key: number for number, kind, key in rows if kind == "container"}
        used = {str(number) for number, _, _ in rows}
        present = os.listdir(self._layout.snapshots)
        self._next = 1 + max([0, *(int(name) for name in {*present, *used} if name.isdigit())])
        for name in set(present) - used:
            self._trash.put_aside(f"{self._layout.snapshots}/{name}")

    async def draft(
        self,
        container_id: str,
        image: Image,
        *,
        host_show: Sequence[str] = (),
        volatile: bool = False,
        beside: Sequence[Image] = (),
    ) -> Draft:
        """Make the container's snapshot, or find the one it has, and plan its root; the caller records it.

        The layers of images ``beside`` are kept too. Raises NotFound, InvalidArgument or Unsupported for a
        ``host_show`` path; DataLoss if a layer is missing.
        """
        if container_id in self.numbers:
            return Draft(await self.rootfs(container_id, volatile=volatile), None, _nothing)
        chains = [chain_ids(other.layers) for other in beside]
        spec = Spec(chain_ids(image.layers), image.base, list(host_show), chains)
        view = await self._view(spec)
        number = self.numbers[container_id] = self._number()
        try:
            rootfs = await self._plan(await self._directories(spec.chain), number, view)
        except BaseException:
            del self.numbers[container_id]
            self._trash.put(self._layout.snapshot(number))
            raise
        row = (number, "container", container_id, msgspec.json.encode(spec))
        return Draft(_volatile(rootfs, volatile), row, lambda it: self._record(it, spec, row))

    async def beside(self, container_id: str, index: int) -> list[str]:
        """The directories of the ``index``-th image that was kept beside a snapshot, top first. Raises
        NotFound.
        """
        _, spec = await self.database.run(lambda it: self._row(it, container_id))
        return await self._directories(spec.beside[index])

    async def rootfs(self, container_id: str, *, volatile: bool = False) -> Rootfs:
        """Plan the root of a prepared container anew: what the host hides may have changed, and its image
        be gone. Raises NotFound.
        """
        number, spec = await self.database.run(lambda it: self._row(it, container_id))
        view = await self._view(spec)
        return _volatile(await self._plan(await self._directories(spec.chain), number, view), volatile)

    async def layers(self, image: Image, *, to_mount: bool = True) -> list[str]:
        """The directories of an image, top first, for a container that mounts them.

        If they are not ``to_mount``: what a container's root was made of. Raises Unsupported, DataLoss.
        """
        if to_mount and self.driver.name == "copy":
            raise Unsupported("image mounts need overlays, which the storage driver copy does without")
        if to_mount and (image.base or not image.layers):
            raise Unsupported(f"image {image.id} has no layers that could be mounted")
        found = await self._directories(chain_ids(image.layers))
        return found if to_mount else await asyncio.to_thread(self.driver.points.above, found)

    async def remove(self, container_id: str, *, durable: bool = True) -> None:
        """Delete a container's snapshot. Idempotent.

        ``durable=False`` if the caller has dropped the container's own row durably already, which saves a
        sync. Small trees are gone when this returns, large ones are put aside and deleted in a thread.
        """
        release = self.release(container_id)
        if release is not None:
            await self.database.run(
                release.drop, durable=durable, frees=True, after=lambda _: release.discard()
            )

    def release(self, container_id: str) -> Release | None:
        """``remove`` for a caller who drops the row together with his own; None if there is no snapshot.

        Until ``discard`` nothing has changed: a transaction that failed may be tried again.
        """
        number = self.numbers.get(container_id)
        if number is None:
            return None
        return Release(lambda it: _drop(it, number), lambda: self._discard(container_id, number))

    async def usage(self, container_id: str) -> int:
        """Bytes in the files that the container wrote. Raises NotFound."""
        number = self.numbers.get(container_id)
        if number is None:
            raise NotFound(f"no snapshot of container {container_id}")
        return await asyncio.to_thread(_written, self._layout.snapshot(number))

    async def close(self) -> None:
        """Wait for scans of the host that were begun."""
        if self._background:
            await asyncio.wait(self._background)

    def begin_layer(self) -> int:
        """A number for a new layer; ``end_layer`` is owed."""
        number = self._number()
        self._unpacking.add(number)
        return number

    async def end_layer(self, number: int) -> None:
        """Delete the directory if it did not become a layer."""
        self._unpacking.discard(number)
        query = "SELECT 1 FROM snapshots WHERE number = ?"
        recorded = await self.database.run(lambda it: it.execute(query, (number,)).fetchone())
        if recorded is None:
            await asyncio.to_thread(self._abandon, self._layout.snapshot(number))

    def in_progress(self, number: int) -> bool:
        """Whether somebody is at work on a snapshot, so that files without a row are no fault."""
        return number in self._unpacking or number in self.numbers.values()

    def discard(self, numbers: Iterable[int]) -> None:
        """Have the files of layers deleted, whose rows are durably gone. From any thread."""
        for number in numbers:
            self._trash.put(self._layout.snapshot(number))

    def forget_layers(self) -> None:
        """The layers' table changed."""
        self._layers.clear()
        self.driver.points.forget()

    async def _view(self, spec: Spec) -> list[Overlay]:
        if spec.base != HOST:
            return []
        if self._host.aged():
            self._keep(asyncio.create_task(asyncio.to_thread(self._host.refresh)))
        cached = self._host.cached(spec.show)
        return cached if cached is not None else await asyncio.to_thread(self._host.overlays, spec.show)

    def _row(self, connection: sqlite3.Connection, container_id: str) -> tuple[int, Spec]:
        query = "SELECT number, spec FROM snapshots WHERE key = ? AND kind = 'container'"
        row = connection.execute(query, (container_id,)).fetchone()
        if row is None:
            raise NotFound(f"no snapshot of container {container_id}")
        return row[0], msgspec.json.decode(row[1], type=Spec)

    def _record(self, connection: sqlite3.Connection, spec: Spec, row: Row) -> None:
        """Raises DataLoss if a layer was removed since the snapshot was planned."""
        for chain_id in itertools.chain(spec.chain, *spec.beside):
            self._layer(connection, chain_id)
        insert_row(connection, row)

    async def _directories(self, chain: Sequence[str]) -> list[str]:
        """Layers' directories, top first."""
        known = [self._layers.get(chain_id, "") for chain_id in reversed(chain)]
        if all(known):
            return known
        return await self.database.run(lambda it: [self._layer(it, entry) for entry in reversed(chain)])

    async def _plan(self, layers: list[str], number: int, view: list[Overlay]) -> Rootfs:
        directory = self._layout.snapshot(number)
        if self.driver.quick:
            return self.driver.plan(directory, layers, view)
        return await asyncio.to_thread(self.driver.plan, directory, layers, view)

    def _layer(self, connection: sqlite3.Connection, chain_id: str) -> str:
        if chain_id not in self._layers:
            row = connection.execute("SELECT number FROM layers WHERE chain_id = ?", (chain_id,)).fetchone()
            if row is None:
                raise DataLoss(f"layer {chain_id} is missing")
            self._layers[chain_id] = f"{self._layout.snapshot(row[0])}/fs"
        return self._layers[chain_id]

    def _discard(self, container_id: str, number: int) -> None:
        """Delete a small tree; put a large one aside for another thread. From any thread."""
        path = self._layout.snapshot(number)
        if not _remove_empty(path) and not trees.remove(path, _QUICK_ENTRIES):
            self._trash.put(path)
        self.numbers.pop(container_id, None)

    def _abandon(self, path: str) -> None:
        try:
            trees.remove(path)
        except KernelError:
            # A job that is just ending still writes there: the next start deletes it.
            self._trash.put_aside(path)

    def _number(self) -> int:
        number, self._next = self._next, self._next + 1
        return number

    def _keep(self, task: asyncio.Task[object]) -> None:
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _drop(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("DELETE FROM snapshots WHERE number = ?", (number,))


def insert_row(connection: sqlite3.Connection, row: Row) -> None:
    """Write the row of a snapshot, or find it written."""
    connection.execute("INSERT OR IGNORE INTO snapshots VALUES (?, ?, ?, ?)", row)


def _volatile(rootfs: Rootfs, volatile: bool) -> Rootfs:
    if not volatile:
        return rootfs
    overlays = [msgspec.structs.replace(overlay, volatile=True) for overlay in rootfs.overlays]
    return msgspec.structs.replace(rootfs, overlays=overlays)


def durable(rootfs: Rootfs) -> Rootfs:
    """The same root, none of it volatile: it can be mounted again, and what is written in it is synced."""
    overlays = [msgspec.structs.replace(overlay, volatile=False) for overlay in rootfs.overlays]
    return msgspec.structs.replace(rootfs, overlays=overlays)


def mount_again(rootfs: Rootfs) -> None:
    """Take off the mark by which the kernel refuses to mount a volatile overlay twice: it was unmounted in
    this boot, so that all it held is there. Whether this run is volatile says nothing of the one before.
    """
    for overlay in rootfs.overlays:
        if overlay.work:
            with contextlib.suppress(FileNotFoundError):
                _unmark(overlay.work)


def _unmark(work: str) -> None:
    """The kernel's mark of a volatile overlay, overlayfs.rst; FileNotFoundError if there is none."""
    inner = f"{work}/work"
    os.unlink(f"{inner}/incompat/volatile/dirty")
    os.rmdir(f"{inner}/incompat/volatile")


def _remove_empty(path: str) -> bool:
    """Delete a snapshot in which nothing was written, or that is gone; False if there is more to it."""
    try:
        os.rmdir(f"{path}/fs")
        work = f"{path}/work"
        inner = f"{work}/work"
        with contextlib.suppress(FileNotFoundError):
            _unmark(work)
            os.rmdir(f"{inner}/incompat")
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(inner)
        os.rmdir(work)
        os.rmdir(path)
    except FileNotFoundError:
        return not os.path.lexists(path)
    except OSError:
        return False
    return True


def _nothing(_: sqlite3.Connection) -> None:
    """The row is there."""


def _written(directory: str) -> int:
    """Bytes in files below the writable directories of a snapshot."""
    places = [directory]
    with contextlib.suppress(FileNotFoundError):
        places += [f"{directory}/mounts/{name}" for name in os.listdir(f"{directory}/mounts")]
    return sum(trees.contents(f"{place}/fs") for place in places)


def _rows(connection: sqlite3.Connection) -> list[tuple[int, str, str]]:
    return connection.execute("SELECT number, kind, key FROM snapshots").fetchall()
