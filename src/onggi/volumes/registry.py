"""The live volumes: what exists, who holds what, and one lock for each name. Belongs to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from sqlite3 import Connection
from weakref import WeakValueDictionary

from onggi.errors import Conflict, InvalidArgument, NotFound
from onggi.kernel.failpoints import failpoint
from onggi.store.database import Database
from onggi.volumes import options, repository
from onggi.volumes.directories import Directories
from onggi.volumes.model import LOCAL, Volume, Wish, check_name, make

Publish = Callable[[str, str, str, Mapping[str, str]], None]  # type, action, id, attributes


class Registry:
    """What the service and the containers' side of this room share."""

    def __init__(self, database: Database, root: str, publish: Publish) -> None:
        self.database, self.directories, self._publish = database, Directories(root), publish
        self.volumes: dict[str, Volume] = {}
        self._holders: dict[str, dict[str, None]] = {}  # volume -> containers, the oldest first
        self._held: dict[str, set[str]] = {}  # container -> volumes
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def recover(self) -> None:
        """At start, before any call. Blocking. Containers say afterwards what they ``hold``."""
        known = {volume.name: volume for volume in self.database.run_blocking(repository.load_all)}
        found = self.directories.recover(known)
        self.database.run_blocking(repository.insert(found), durable=True)
        self.volumes = known | {volume.name: volume for volume in found}
        self.directories.promise(self.volumes)

    def publish(self, action: str, volume: Volume, **attributes: str) -> None:
        """Tell what happened to a volume, in docker's event."""
        self._publish("volume", action, volume.name, {"driver": volume.driver, **attributes})

    def pruned(self, reclaimed: int) -> None:
        """Tell of a prune."""
        self._publish("volume", "prune", "", {"reclaimed": str(reclaimed)})

    def get(self, name: str) -> Volume:
        """Raises NotFound in docker's words."""
        if name not in self.volumes:
            raise NotFound(f"get {name}: no such volume")
        return self.volumes[name]

    @asynccontextmanager
    async def locked(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Nobody else makes, removes or fills these meanwhile."""
        async with AsyncExitStack() as stack:
            for name in sorted(set(names)):
                await stack.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))
            yield

    async def obtain(self, wish: Wish, container_id: str = "") -> Volume:
        """The volume of a name, made if it is absent, and held by the container if one is given.

        One that exists is taken as it is, whatever else is wished, as in docker; another driver's is a
        Conflict.
        """
        volume = _made(wish)
        async with self.locked([volume.name]):
            if volume.name in self.volumes:
                volume = self.volumes[volume.name]
            else:
                await self._create(volume)
            if container_id:
                self.hold(volume.name, container_id)
        return volume

    async def draft(self, wish: Wish, container_id: str) -> Volume:
        """A new volume that one container holds, and whose row is written with the container's."""
        volume = _made(wish)
        await asyncio.to_thread(self.directories.make, volume.name)
        self.volumes[volume.name] = volume
        self.hold(volume.name, container_id)
        return volume

    async def drop(self, name: str) -> None:
        """Remove a volume that nobody holds; its name is locked. Raises Conflict in docker's words."""
        volume = self.get(name)
        if holders := self.holders(name):
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(holders)}]")
        failpoint("volumes.remove.before_row")
        await self.database.run(
            self.dropping([name]), durable=True, frees=True, after=lambda _: self.discard([name])
        )
        self.forget(volume)

    def dropping(self, names: list[str]) -> repository.Statement:
        """Drop rows, in a durable transaction that has ``discard`` behind it."""
        delete = repository.delete(names)

        def statement(connection: Connection) -> None:
            self.directories.take_back(names)
            delete(connection)

        return statement

    def discard(self, names: list[str]) -> None:
        """Put files aside whose rows are durably gone. From any thread."""
        failpoint("volumes.remove.after_row")
        self.directories.discard(names)

    def promise(self, names: list[str]) -> None:
        """Their rows are durable. On the database's thread."""
        failpoint("volumes.create.after_row")
        self.directories.promise(names)

    def forget(self, volume: Volume) -> None:
        """Its row is gone."""
        self.volumes.pop(volume.name, None)
        self._holders.pop(volume.name, None)
        self.publish("destroy", volume)

    def hold(self, name: str, container_id: str) -> None:
        """A container uses a volume from now on."""
        self._holders.setdefault(name, {})[container_id] = None
        self._held.setdefault(container_id, set()).add(name)

    def let_go(self, container_id: str) -> None:
        """A container is gone."""
        for name in self._held.pop(container_id, ()):
            self._holders.get(name, {}).pop(container_id, None)

    def holders(self, name: str) -> list[str]:
        """The containers that use a volume."""
        return list(self._holders.get(name, ()))

    async def _create(self, volume: Volume) -> None:
        await asyncio.to_thread(self._make_durable, volume.name)
        failpoint("volumes.create.before_row")
        await self.database.run(
            repository.insert([volume]), durable=True, after=lambda _: self.promise([volume.name])
        )
        self.volumes[volume.name] = volume
        self.publish("create", volume)

    def _make_durable(self, name: str) -> None:
        self.directories.make(name)
        self.directories.sync([name])


def _made(wish: Wish) -> Volume:
    """A new volume of a wish that is checked."""
    volume = make(wish)
    check_name(volume.name)
    if wish.driver not in ("", LOCAL):
        raise NotFound(
            f'create {volume.name}: error looking up volume plugin {wish.driver}: plugin "{wish.driver}" '
            "not found"
        )
    try:
        options.check(wish.options or {})
    except InvalidArgument as error:
        raise InvalidArgument(f"create {volume.name}: {error}") from None
    return volume
