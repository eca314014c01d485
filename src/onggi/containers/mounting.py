"""The mounts of a container on their way into it: volumes made, held, filled from the image, and let go.

Volumes of a name are durable before anything refers to them, as in docker, and stay if the create fails.
What is made for one container alone has its row in the transaction of the container's.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from onggi.containers.mount_points import MountPoint, all_points, inherited, parse_volumes_from, public
from onggi.containers.request import CreateRequest
from onggi.containers.rootview import RootView, layers
from onggi.errors import InvalidArgument, NotFound, Unsupported
from onggi.store.rootfs import Rootfs
from onggi.volumes.filling import Content
from onggi.volumes.holding import Departure, over_file
from onggi.volumes.options import Source, resolved

if TYPE_CHECKING:
    from onggi.containers.context import Context
    from onggi.containers.model import Container

_NOBODY = Content(0, 0, 0, None)


class Mounting:
    """One engine's; see the module."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def plan(self, request: CreateRequest, more: Sequence[MountPoint] = ()) -> list[MountPoint]:
        """What will be mounted where; images exist, and sources on the machine too, or will be made.

        ``more`` is mounted where the request asks for nothing else.

        Raises InvalidArgument, NotFound, Unsupported.
        """
        foreign = [point for text in request.host.volumes_from or [] for point in self._points_of(text)]
        points = all_points(request.config, request.host, [*more, *foreign], self._context.data_root)
        for point in points:
            check_source(point)
            if point.type == "image" and not point.source:
                point.source = await self._image(point, request.host.rootfs_directory)
        return points

    async def _image(self, point: MountPoint, directory: str) -> str:
        if directory:
            raise Unsupported("image mounts need a container that is made from an image")
        with _not_the_image():
            image = await self._context.images.get(point.name)
        await self._context.snapshots.layers(image)
        return image.id

    def _points_of(self, text: str) -> list[MountPoint]:
        ref, writable = parse_volumes_from(text)
        with _not_the_image():
            other = self._context.find(ref)
        points = public(other.spec.mounts, other.spec.host_config)
        return [inherited(point, writable) for point in points]

    async def furnish(self, container: Container) -> None:
        """Plan the root, have every volume there and held, fill new ones. ``Creator.discard`` undoes it."""
        context = self._context
        rootfs = await context.rootfs(container)
        fresh = [point for point in container.spec.mounts if point.wish is not None]
        with _not_the_image():
            for point in container.spec.mounts:
                if point.type == "volume":
                    await self._take(container, point)
        for point in fresh:
            await self._fill(point, rootfs)
        if container.volumes and not container.spec.host_config.auto_remove:
            await context.volumes.sync(container.volumes)

    async def _take(self, container: Container, point: MountPoint) -> None:
        volumes, wish = self._context.volumes, point.wish
        if wish is None:
            await volumes.share(point.name, container.id)
            return
        if point.anonymous:
            volume = await volumes.draft(wish, container.id)
            container.volumes.append(volume)
            volumes.publish("create", volume.name)
        else:
            volume = await volumes.take(wish, container.id)
        point.name, point.driver, point.wish = volume.name, volume.driver, None
        point.source = volumes.mountpoint(volume.name)

    async def _fill(self, point: MountPoint, rootfs: Rootfs) -> None:
        content = self._content(point, rootfs)
        if content is not None and point.copy:
            await self._context.volumes.fill(point.name, point.subpath, content)

    def _content(self, point: MountPoint, rootfs: Rootfs) -> Content | None:
        """What the image has there; None if there is nothing to be copied."""

        async def copy(target: int) -> None:
            copied = await self._context.copy_up(rootfs, point.destination, target)
            if copied["kind"] == "other" and point.anonymous:
                raise over_file(point.destination)

        if rootfs.kind == "overlay" and (rootfs.overlays[0].masks or len(rootfs.overlays) > 1):
            return _NOBODY._replace(copy=copy)  # what a view of the machine hides is for its mount to say
        with RootView(layers(rootfs)) as view:
            status = view.status(point.destination)
            if status is None:
                return None
            if not stat.S_ISDIR(status.st_mode):
                if point.anonymous:
                    raise over_file(point.destination)
                return None
            empty = view.is_empty(point.destination)
        return Content(status.st_mode, status.st_uid, status.st_gid, None if empty else copy)

    async def sources(self, container: Container, points: Sequence[MountPoint]) -> dict[str, Source]:
        """What is mounted for volumes and images among ``points``, by destination. Raises NotFound."""
        found: dict[str, Source] = {}
        for point in points:
            if point.type == "volume":
                source = self._context.volumes.source(point.name)
                found[point.destination] = await asyncio.to_thread(resolved, source)
            elif point.type == "image":
                lowers = await self._lowers(container, point.source)
                found[point.destination] = Source(point.source, lowers=tuple(lowers))
        return found

    async def _lowers(self, container: Container, image_id: str) -> list[str]:
        """The directories of an image that a container mounts, top first."""
        snapshots = self._context.snapshots
        try:
            image = await self._context.images.get(image_id)
        except NotFound:  # removed by force; what the container stands on keeps its layers
            return await snapshots.beside(container.id, container.spec.mounted_images.index(image_id))
        return await snapshots.layers(image)

    def tell(self, container: Container, action: str) -> None:
        """docker's events of volumes when a container starts (``mount``) and ends (``unmount``)."""
        for point in container.spec.mounts:
            if point.type == "volume":
                facts = {"container": container.id}
                if action == "mount":
                    facts |= {
                        "destination": point.destination,
                        "read/write": str(point.writable).lower(),
                        "propagation": point.propagation,
                    }
                self._context.volumes.publish(action, point.name, **facts)

    @asynccontextmanager
    async def leaving(
        self, container: Container, anonymous: Sequence[str]
    ) -> AsyncIterator[Departure | None]:
        """A container ends its hold; the body commits that. None if it has no volume."""
        names = [point.name for point in container.spec.mounts if point.type == "volume" and point.name]
        if not names:
            yield None
            return
        async with self._context.volumes.leaving(container.id, anonymous) as departure:
            yield departure


def anonymous_volumes(container: Container) -> list[str]:
    """What goes with a container where that is wished, unless another one holds it."""
    return [point.name for point in container.spec.mounts if point.anonymous and point.name]


@contextmanager
def _not_the_image() -> Iterator[None]:
    """Clients take "not found" for the container's own image, and pull that: it is InvalidArgument here."""
    try:
        yield
    except NotFound as error:
        raise InvalidArgument(str(error)) from None


def check_source(point: MountPoint) -> None:
    """Raise InvalidArgument, in docker's words, for a bind whose source is absent and is not to be made."""
    if point.type == "bind" and not point.make_source and not os.path.lexists(point.source):
        raise InvalidArgument(
            f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
        )
