"""Jobs that show somebody a container's root file system: a tree of mounts that hangs nowhere, and is gone
when its descriptor is closed.

They mount, so they are not confined; they read no file of a container and follow no name of its.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from onggi.errors import Conflict
from onggi.kernel import mounts, paths
from onggi.runtime import plan as plans
from onggi.runtime.rootfs import Builder
from onggi.runtime.shelf import Shelf
from onggi.runtime.trees import clone_sources

Json = Any


def view(_: list[int], arguments: Json) -> Json:
    """The root of a container that does not run, with its bind mounts; ``fds`` of the answer is the tree.

    ``arguments`` has ``root``, ``sources`` and ``ops`` of a plan. The caller sees to it that nobody mounts
    the same root meanwhile.
    """
    root, sources, ops = plans.load_view(arguments)
    trees = clone_sources(sources, root.overlay_append)
    mounts.enter_private()
    builder = Builder(trees, _no_console, Shelf())
    builder.build(root, ops)
    return {"fds": [mounts.clone_tree("", builder.root_fd)]}


def bare_view(fds: list[int], arguments: Json) -> Json:
    """The root of a container that runs, without what is mounted in it: ``fds`` is its mount namespace.

    ``arguments`` has ``targets``, where the root's own file systems lie in it, ``/`` first, and
    ``mount_point``.
    """
    trees = _clone_in(fds[0], arguments["targets"])
    mounts.enter_private()
    target = os.open(arguments["mount_point"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.attach(trees[0], target)
    for path, tree in zip(arguments["targets"][1:], trees[1:], strict=True):
        mounts.attach(tree, paths.open_in(trees[0], path, os.O_PATH | os.O_DIRECTORY))
    return {"fds": [mounts.clone_tree("", trees[0])]}


def _clone_in(namespace_fd: int, targets: Sequence[str]) -> list[int]:
    """Single mounts of another mount namespace, whose root these paths begin at."""
    own, other = os.stat("/proc/self/ns/mnt"), os.fstat(namespace_fd)
    if os.path.samestat(own, other):
        raise Conflict("this is the engine's own mount namespace")
    with mounts.inside(namespace_fd):
        return [mounts.clone_tree(path, recursive=False) for path in targets]


def _no_console(_: int, __: int) -> None:
    """No plan of a view opens a terminal."""


TABLE = {"view": view, "bare_view": bare_view}
