"""What a container's root file system is made of, as data: the store plans it, the runtime mounts it.

The runtime mounts an ``Overlay`` in the container's own mount namespace, so:

1. If there are ``masks``, a tmpfs becomes the layer above the last of ``lowers``. For each mask, parents
   first: directories on the way are made with mode, owner and xattrs of the host's (``lowers[-1]`` + path),
   a ``whiteout`` is a character device 0:0, an ``opaque`` is a directory with ``trusted.overlay.opaque=y``
   and mode and owner of the host's (0755 root where the host has none).
2. With ``nested``, masks and the last of ``lowers`` are first mounted as a read-only overlay (the base), and
   the other lowers and the upper directory lie on that. Without it everything is one overlay.
3. The result is attached at ``target``.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Mask(msgspec.Struct, frozen=True):
    """One thing that a base layer hides; ``path`` is inside its overlay and starts with ``/``."""

    kind: Literal["whiteout", "opaque"]
    path: str


class Overlay(msgspec.Struct, frozen=True):
    """One overlay mount: ``lowers`` top first; no ``upper`` means read-only.

    ``volatile``: what is written is thrown away after a crash, so that nothing of it is ever synced.
    """

    target: str
    lowers: list[str]
    upper: str | None = None
    work: str | None = None
    masks: list[Mask] = []
    nested: bool = False
    volatile: bool = False


class Rootfs(msgspec.Struct, frozen=True):
    """A root: overlays (``/`` first, then other file systems, parents first), or a directory as it is."""

    kind: Literal["overlay", "directory"]
    overlays: list[Overlay] = []
    path: str = ""


class Spec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a container's snapshot stands on; kept in its row. ``beside``: chains of images it mounts."""

    chain: list[str] = []  # chain ids, base first
    base: str | None = None
    show: list[str] = []
    beside: list[list[str]] = []
