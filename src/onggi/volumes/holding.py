"""What containers do with volumes: take them, hold them, fill new ones from their image, leave them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from onggi.errors import InvalidArgument, NotFound
from onggi.volumes import filling, options, repository
from onggi.volumes.model import Volume
from onggi.volumes.options import Source
from onggi.volumes.registry import Registry


class Departure(NamedTuple):
    """Volumes that go with their container: their rows in the caller's transaction, then their files, from
    any thread.
    """

    drop: repository.Statement
    discard: Callable[[], None]


class Holding:
    """The containers' side of the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.take, self.draft = registry.obtain, registry.draft
        self.hold = registry.hold  # at start: a container's row says that it has the volume

    async def share(self, name: str, container_id: str) -> None:
        """Hold a volume that another container has. Raises NotFound."""
        async with self._registry.locked([name]):
            self._registry.get(name)
            self._registry.hold(name, container_id)

    def record(self, drafts: Sequence[Volume]) -> repository.Statement:
        """Write the rows of drafts, made durable before by ``sync`` if the transaction is to be."""
        return repository.insert(drafts)

    async def sync(self, drafts: Sequence[Volume]) -> None:
        """Make the directories of drafts durable."""
        await asyncio.to_thread(self._registry.directories.sync, [volume.name for volume in drafts])

    def recorded(self, drafts: Sequence[Volume], *, durable: bool) -> None:
        """The rows of drafts are committed. On the database's thread."""
        if durable:
            self._registry.promise([volume.name for volume in drafts])

    def publish(self, action: str, name: str, **attributes: str) -> None:
        """Tell that a container mounted or unmounted a volume, or that a draft is there."""
        volume = self._registry.volumes.get(name)
        if volume is not None:
            self._registry.publish(action, volume, **attributes)

    def mountpoint(self, name: str) -> str:
        """Where docker's clients see the content."""
        return self._registry.directories.data(name)

    def source(self, name: str) -> Source:
        """What is mounted for the volume. Raises NotFound."""
        try:
            volume = self._registry.get(name)
        except NotFound:
            raise NotFound(f"error while mounting volume '{self.mountpoint(name)}': no such volume") from None
        return options.source(volume.options, self.mountpoint(name))

    async def fill(self, name: str, subpath: str, content: filling.Content) -> None:
        """Give an empty volume what its first container's image has; one with content is left alone.

        Raises InvalidArgument, KernelError.
        """
        async with self._registry.locked([name]):
            source = self.source(name)
            if source.fstype:
                return  # each container mounts its own; see docs/decisions/0081
            alone = len(self._registry.holders(name)) == 1
            if alone and not subpath and source == Source(self.mountpoint(name)):
                await filling.fill_whole(source.device, content)
            else:
                await filling.fill_part(source.device, subpath, content)

    @asynccontextmanager
    async def leaving(self, container_id: str, anonymous: Sequence[str]) -> AsyncIterator[Departure]:
        """The container ends its hold; of ``anonymous`` volumes, those that nobody else holds go.

        The body commits the departure; if it raises, all stays as it was.
        """
        registry = self._registry
        async with registry.locked(anonymous):
            going = [
                name
                for name in anonymous
                if name in registry.volumes and registry.holders(name) == [container_id]
            ]
            yield Departure(registry.dropping(going), lambda: registry.discard(going))
            registry.let_go(container_id)
            for name in going:
                registry.forget(registry.volumes[name])


def over_file(path: str) -> InvalidArgument:
    """docker's words for an anonymous volume where the image has a file."""
    return InvalidArgument(f"cannot mount volume over existing file, file exists {path}")
