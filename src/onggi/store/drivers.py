"""Which storage driver a store uses: chosen once, when it is made, by trying; recorded in its database."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import Protocol

from onggi.archive import overlay as marks
from onggi.errors import Conflict, InvalidArgument, KernelError, Unsupported
from onggi.kernel import features, files, mounts
from onggi.store.copies import CopyDriver
from onggi.store.database import Database
from onggi.store.layout import Layout
from onggi.store.mountpoints import MountPoints
from onggi.store.overlays import OverlayDriver
from onggi.store.rootfs import Overlay, Rootfs

NAMES = ("overlay2", "copy")
_FAILED = "error initializing graphdriver"


class Driver(Protocol):
    """Makes root file systems of containers from layers.

    ``job`` unpacks a layer as the driver wants it, into a ``directory`` of its own below ``snapshots``; a
    ``quick`` driver plans without a worker thread. A layer of mount ``points`` lies above those of an image.
    """

    points: MountPoints
    name: str
    directory: str
    job: str
    quick: bool

    def plan(self, directory: str, layers: Sequence[str], view: Sequence[Overlay]) -> Rootfs:
        """The root in ``directory`` (of the container's snapshot) above ``layers`` (top first).

        Made at the first call and found at later ones.
        """
        ...


def check(name: str) -> None:
    """Raise InvalidArgument, in docker's words, for a driver that does not exist."""
    if name and name not in NAMES:
        raise InvalidArgument(f"{_FAILED}: driver not supported: {name}")


def choose(database: Database, root: str, asked: str) -> Driver:
    """The driver of the store at ``root``: the one it was made with, else ``asked``, else what works there.

    Raises Conflict if another is asked for than the store has, Unsupported if what is asked for does not
    work there.
    """
    check(asked)
    query = "SELECT value FROM facts WHERE name = 'driver'"
    row = database.run_blocking(lambda it: it.execute(query).fetchone())
    name = str(row[0]) if row else asked or ("copy" if why_no_overlay(root) else "overlay2")
    if asked not in ("", name):
        raise Conflict(
            f"{_FAILED}: {root} was made with the storage driver {name}, not {asked}: "
            f"use --storage-driver {name} or another --data-root"
        )
    if not row:
        if name == asked == "overlay2" and (why := why_no_overlay(root)):
            raise Unsupported(f"{_FAILED}: driver not supported: overlay2: {why}")
        insert = "INSERT INTO facts VALUES ('driver', ?)"
        database.run_blocking(lambda it: it.execute(insert, (name,)), durable=True)
    points = MountPoints(Layout(root).mountpoints)
    return CopyDriver(points) if name == "copy" else OverlayDriver(points)


def why_no_overlay(root: str) -> str:
    """Why an overlay cannot be used below ``root``, empty if it can: tried with directories that go again."""
    place = tempfile.mkdtemp(prefix="probe-", dir=root)
    try:
        lower, upper, work = (os.path.join(place, name) for name in ("lower", "upper", "work"))
        for path in (lower, upper, work):
            os.mkdir(path)
        with files.directory(lower) as fd:
            marks.make_whiteout(fd, b"gone")
            os.setxattr(fd, marks.OVERLAY.opaque, b"y")
        append = features.probe().overlay_append
        os.close(mounts.overlay([lower], upper, work, append=append))
    except (KernelError, OSError) as error:
        return str(error)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return ""
