"""The ``copy`` driver: every container gets a copy of its layers, merged. For data roots on which an overlay
cannot be mounted: on another overlay, on NFS, without the right to mount.

Layers are unpacked once and shared as with overlay, under other marks (``archive.overlay.COPY``); where the
file system can share extents, copies do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from onggi.archive import merging
from onggi.errors import KernelError, Unsupported
from onggi.kernel import files
from onggi.store import space
from onggi.store.durable import sync_tree
from onggi.store.layout import make_private
from onggi.store.mountpoints import MountPoints
from onggi.store.rootfs import Overlay, Rootfs


class CopyDriver:
    """See ``drivers.Driver``."""

    name = "copy"
    directory = "copy"
    job = "unpack_layer_to_copy"
    quick = False

    def __init__(self, points: MountPoints) -> None:
        self.points = points

    def plan(self, directory: str, layers: Sequence[str], view: Sequence[Overlay]) -> Rootfs:
        """The copy is made or found; durable when this returns. Raises Unsupported for a view."""
        if view:
            raise Unsupported(
                "a view of this machine needs overlay mounts, which the storage driver copy does without"
            )
        target = f"{directory}/fs"
        if not os.path.isdir(target):
            make_private(directory)
            space.require(directory, 1, "a container")
            lowers = self.points.above(layers)
            _copy(lowers, [*layers, *lowers][0], target)
        return Rootfs("directory", path=target)


def _copy(layers: Sequence[str], like: str, target: str) -> None:
    """A half copy must not be taken for a whole one: it gets its name when it is complete.

    The root itself is as in the directory ``like``: the layer of mount points says nothing of it.
    """
    partial = f"{target}.part"
    try:
        os.mkdir(partial, 0o700)
        merging.merge(layers, partial)
        status = os.stat(like)
        os.chown(partial, status.st_uid, status.st_gid)
        os.chmod(partial, stat.S_IMODE(status.st_mode))
        with files.directory(partial) as fd:
            sync_tree(fd)
        os.rename(partial, target)
    except OSError as error:
        raise KernelError("copy", error.errno or 0, target) from None
