"""Looking at the files of containers: who does, and through which mount.

A running container is looked at through its own mounts. One that does not run is mounted for the occasion,
by a job, in nobody's namespace. One upper directory is never mounted twice: whoever looks at a container that
does not run is alone, and a start waits for all who look, and then sends them away.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from onggi.containers import files
from onggi.containers.context import Context
from onggi.containers.model import Container, View
from onggi.containers.mounting import Mounting
from onggi.containers.spec_mounts import file_mounts, in_order, point_mounts
from onggi.errors import Conflict, NotFound
from onggi.store.snapshots import durable, mount_again

Json = Any
_PATIENCE_S = 10.0
_FAREWELL_S = 5.0
_AGAIN_S = 0.02


class Views:
    """Descriptors of containers' roots, for the time of an operation."""

    def __init__(self, context: Context) -> None:
        self._context, self._mounting = context, Mounting(context)

    @asynccontextmanager
    async def root(self, container: Container, *, mounts: bool) -> AsyncIterator[int]:
        """The descriptor of the container's root, with all that is ``mounts``-ed in it, or the root alone."""
        view, fd = await self._open(container, mounts)
        try:
            yield fd
        finally:
            try:
                # The last descriptor unmounts the root, which syncs its file system.
                await asyncio.shield(asyncio.to_thread(os.close, fd))
            finally:
                _leave(container, view)

    @asynccontextmanager
    async def layers(self, container: Container) -> AsyncIterator[None]:
        """The directories that make the root stay for the time; nothing is mounted."""
        _refuse(container)
        view = _enter(container, mounted=False)
        try:
            yield
        finally:
            _leave(container, view)

    async def _open(self, container: Container, mounts: bool) -> tuple[View, int]:
        while True:
            _refuse(container)
            if container.alive:
                found = await self._while_registered(container, self._running, mounts)
            else:
                async with container.lock:
                    others = [view for view in container.views if view.mounted]
                    if not others and not container.alive:
                        found = await self._while_registered(container, self._stopped, mounts)
                    else:
                        found = None
                await _wait(others, None)
            if found:
                return found
            await asyncio.sleep(_AGAIN_S)  # it is just ending, beginning, or somebody else was there

    async def _while_registered(
        self, container: Container, mount: Callable[[Container, bool], Awaitable[int]], mounts: bool
    ) -> tuple[View, int] | None:
        """What was mounted; None if the container no longer is as it was."""
        view = _enter(container, mounted=True)
        try:
            return view, await mount(container, mounts)
        except BaseException as error:
            _leave(container, view)
            if isinstance(error, NotFound) and container.state.running:
                return None
            raise

    async def _running(self, container: Container, mounts: bool) -> int:
        runtime = self._context.runtime
        if mounts:
            return int((await runtime.call(container.id, "root", {}))["fd"])
        return await runtime.roots.bare(container.id, await self._context.rootfs(container))

    async def _stopped(self, container: Container, mounts: bool) -> int:
        rootfs = durable(await self._context.rootfs(container))
        if container.run:
            mount_again(rootfs)
        readonly = mounts and container.spec.host_config.readonly_rootfs
        wanted = await self._mounts(container) if mounts else []
        # docker makes it at create; here the first start does, or whoever looks before.
        directory = "" if container.run else container.spec.config.working_dir
        return await self._context.runtime.roots.mount(rootfs, wanted, readonly=readonly, directory=directory)

    async def _mounts(self, container: Container) -> list[Json]:
        """The binds and volumes of a container, and its generated files, once they exist; what is mounted
        here does not reach the host.
        """
        wanted = [
            msgspec.structs.replace(point, propagation="rprivate")
            for point in container.spec.mounts
            if point.type in ("volume", "image") or (point.type == "bind" and os.path.lexists(point.source))
        ]
        points = point_mounts(wanted, await self._mounting.sources(container, wanted))
        written = files.paths(self._context.directory(container.id))
        present = {destination: path for destination, path in written.items() if os.path.exists(path)}
        return in_order([*file_mounts(present, container.spec.host_config.readonly_rootfs), *points])


async def clear(container: Container, *, mounted: bool) -> None:
    """Wait until nobody looks at a container, for a while, and then send away who does. Its lock is held.

    ``mounted``: only those who hold a mount of its root.
    """

    def present() -> list[View]:
        return [view for view in container.views if view.mounted or not mounted]

    await _wait(present(), _PATIENCE_S)
    for view in present():
        if view.task is not None:
            view.task.cancel()
    await _wait(present(), _FAREWELL_S)


async def _wait(views: list[View], seconds: float | None) -> None:
    if views:
        waits = [asyncio.ensure_future(view.closed.wait()) for view in views]
        _, pending = await asyncio.wait(waits, timeout=seconds)
        for wait in pending:
            wait.cancel()


def _enter(container: Container, *, mounted: bool) -> View:
    view = View(mounted)
    container.views.add(view)
    return view


def _leave(container: Container, view: View) -> None:
    container.views.discard(view)
    view.closed.set()


def _refuse(container: Container) -> None:
    if container.removing:
        raise Conflict(f"container {container.id} is marked for removal and cannot be read")
    if container.state.dead:
        raise Conflict(f"container {container.id} is dead and cannot be read")
