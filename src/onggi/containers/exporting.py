"""``docker export`` and ``docker diff``, and the layer of ``docker commit``.

An export is the container's root without what is mounted in it. The other two read the directories that the
root is made of, which a running container leaves in place.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any, cast

from onggi.containers import pipes
from onggi.containers.context import Context
from onggi.containers.lifecycle import Lifecycle
from onggi.containers.model import Container
from onggi.containers.views import Views
from onggi.errors import Conflict, NotFound, Unsupported
from onggi.store.rootfs import Rootfs

Json = Any


class Exporting:
    """Streams of whole containers."""

    def __init__(self, context: Context, views: Views, lifecycle: Lifecycle) -> None:
        self._context, self._views, self._lifecycle = context, views, lifecycle

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        """The container's root as a tar."""
        container = self._context.find(ref)
        return await pipes.begun(self._export(container))

    async def changes(self, ref: str) -> AsyncIterator[bytes]:
        """docker's JSON list of what differs from the image: Path, and Kind 0 changed, 1 added, 2 deleted."""
        container = self._context.find(ref)
        return await pipes.begun(self._differences(container, "changes"))

    async def layer(
        self, ref: str, *, pause: bool = True, packing: Json | None = None
    ) -> AsyncIterator[bytes]:
        """What differs from the image as the plain tar of an image layer, for a commit.

        A running container is paused until the stream has ended, unless ``pause`` is false. ``packing`` has
        further arguments of the job ``pack_layer``. Of a bare directory, without image, it is everything.
        """
        container = self._context.find(ref)
        return await pipes.begun(self._layer(container, pause, packing or {}))

    async def _export(self, container: Container) -> AsyncIterator[bytes]:
        runtime = self._context.runtime
        arguments = {"path": "/", "name": None}
        async with (
            self._views.root(container, mounts=False) as root_fd,
            pipes.output(lambda fd: runtime.job("pack", arguments, [root_fd, fd])) as pieces,
        ):
            async for piece in pieces:
                yield piece
        self._context.publish(container, "export")

    async def _differences(
        self, container: Container, job: str, more: Json | None = None
    ) -> AsyncIterator[bytes]:
        runtime = self._context.runtime
        if job == "changes" and container.spec.host_config.rootfs_directory:
            words = "is made of a directory: it has no image to differ from"
            raise Unsupported(f"container {container.id} {words}")
        arguments = {"trees": await self._trees(container)} | (more or {})
        async with (
            self._views.layers(container),
            pipes.output(lambda fd: runtime.job(job, arguments, [fd])) as pieces,
        ):
            async for piece in pieces:
                yield piece

    async def _layer(self, container: Container, pause: bool, packing: Json) -> AsyncIterator[bytes]:
        running = container.alive and not container.state.paused
        paused = pause and running and await _succeeds(self._lifecycle.pause(container.id))
        try:
            async with aclosing(cast(Any, self._differences(container, "pack_layer", packing))) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            if paused:
                await _succeeds(self._lifecycle.unpause(container.id))

    async def _trees(self, container: Container) -> list[Json]:
        """What the jobs compare, see ``archive.jobs.pack_layer``."""
        if directory := container.spec.host_config.rootfs_directory:
            self._refuse_own(directory)
            return [{"top": directory, "lowers": [], "place": "/", "masks": [], "whole": True}]
        rootfs = await self._context.rootfs(container)
        if rootfs.kind == "directory":
            image = await self._context.images.get(container.spec.image_id)
            lowers = await self._context.snapshots.layers(image, to_mount=False)
            return [{"top": rootfs.path, "lowers": lowers, "place": "/", "masks": [], "whole": True}]
        return trees_of(rootfs)

    def _refuse_own(self, directory: str) -> None:
        """A layer that would hold its own blob has no end. Raises Conflict."""
        own, top = os.path.realpath(self._context.data_root), os.path.realpath(directory)
        if os.path.commonpath([own, top]) == top:
            raise Conflict(f"cannot commit {directory}: the engine's data root {own} is in it")


async def _succeeds(change: Awaitable[None]) -> bool:
    try:
        await change
    except (Conflict, NotFound):
        return False  # it ended, or somebody else has paused or resumed it
    return True


def trees_of(rootfs: Rootfs) -> list[Json]:
    """What the jobs ``changes`` and ``pack_layer`` compare: the directories of each overlay of a root."""
    return [
        {
            "top": overlay.upper,
            "lowers": overlay.lowers,
            "place": overlay.target,
            "masks": [(mask.kind, mask.path) for mask in overlay.masks],
            "whole": False,
        }
        for overlay in rootfs.overlays
    ]
