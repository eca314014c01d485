"""The ``overlay2`` driver: layers as they are, below an upper directory of each container's own. The runtime
mounts it in the container's mount namespace.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from hashlib import sha256

import msgspec

from onggi.errors import KernelError
from onggi.store.mountpoints import MountPoints
from onggi.store.rootfs import Overlay, Rootfs


class OverlayDriver:
    """See ``drivers.Driver``."""

    name = "overlay2"
    directory = "overlay"
    job = "unpack_layer"
    quick = True

    def __init__(self, points: MountPoints) -> None:
        self.points = points

    def plan(self, directory: str, layers: Sequence[str], view: Sequence[Overlay]) -> Rootfs:
        """Directories are made or found; the ``view`` of the machine, if any, lies below the layers."""
        _mkdir(directory)
        if not view:
            lowers = self.points.above(layers)
            return Rootfs("overlay", [_writable(Overlay("/", lowers), directory, [*layers, *lowers][0])])
        root = msgspec.structs.replace(
            view[0], lowers=[*layers, *view[0].lowers], nested=view[0].nested or bool(layers)
        )
        overlays = [_writable(root, directory, root.lowers[0])]
        if len(view) > 1:
            _mkdir(f"{directory}/mounts")
        for other in view[1:]:
            place = f"{directory}/mounts/{sha256(os.fsencode(other.target)).hexdigest()[:16]}"
            _mkdir(place)
            overlays.append(_writable(other, place, other.target))
        return Rootfs("overlay", overlays)


def _writable(overlay: Overlay, directory: str, like: str) -> Overlay:
    """Give an overlay its upper directory, with owner and mode of the directory it covers."""
    upper, work = f"{directory}/fs", f"{directory}/work"
    status = os.stat(like)
    try:
        os.mkdir(upper, 0o700)
        os.chown(upper, status.st_uid, status.st_gid)
        os.chmod(upper, stat.S_IMODE(status.st_mode))
    except FileExistsError:
        pass  # a further start of the same container
    except OSError as error:
        raise KernelError("mkdir", error.errno or 0, upper) from None
    _mkdir(work)
    return msgspec.structs.replace(overlay, upper=upper, work=work)


def _mkdir(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass  # a further start of the same container
    except OSError as error:
        raise KernelError("mkdir", error.errno or 0, path) from None
