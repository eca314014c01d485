"""``docker volume``: bodies and answers are docker's JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from onggi.archive import trees
from onggi.errors import Conflict, InvalidArgument, NotFound, Unavailable
from onggi.filters import Filters
from onggi.store.findings import Finding
from onggi.volumes import filters as rules
from onggi.volumes.model import Volume, Wish, as_json
from onggi.volumes.registry import Registry

Json = Any
_STRAY = "no row names it: the next start of the engine makes it a volume again"
Answers = Sequence[Json]


class _Body(msgspec.Struct):
    """Body of ``POST /volumes/create``; names are matched whatever their case, as Go does."""

    name: str | None = ""
    driver: str | None = ""
    driveropts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    clustervolumespec: Json = None


class Volumes:
    """The nouns and verbs of the volume commands."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._pruning = False

    async def create(self, body: Json) -> Json:
        """docker's ``Volume``; one that exists is answered as it is."""
        return self._json(await self._registry.obtain(_wish(body)))

    async def inspect(self, name: str) -> Json:
        """docker's ``Volume``. Raises NotFound."""
        return self._json(self._registry.get(name))

    async def list(self, filters: Filters | None = None) -> Answers:
        """docker's ``Volume`` of each, by name."""
        filters = filters or {}
        rules.check_list(filters)
        dangling = rules.dangling(filters)
        found = [volume for volume in self._volumes() if rules.wanted(volume, filters)]
        return [
            self._json(volume)
            for volume in found
            if dangling is None or dangling != bool(self._registry.holders(volume.name))
        ]

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and its content. ``force``: one that does not exist is fine.

        Raises NotFound, or Conflict that names the containers which hold it.
        """
        try:
            async with self._registry.locked([name]):
                await self._registry.drop(name)
        except NotFound:
            if not force:
                raise

    async def prune(self, filters: Filters | None = None) -> Json:
        """Remove what nobody holds; docker's ``{"VolumesDeleted", "SpaceReclaimed"}``."""
        filters = filters or {}
        rules.check_prune(filters)
        if self._pruning:
            raise Conflict("a prune operation is already running")
        self._pruning = True
        try:
            return await self._prune(filters)
        finally:
            self._pruning = False

    async def usage(self) -> Answers:
        """docker's ``Volume`` with ``UsageData`` of every volume whose content is ours to measure.

        ``Size`` is bytes on disk, as du counts them.
        """
        own = [volume for volume in self._volumes() if not volume.options]
        paths = [self._registry.directories.data(volume.name) for volume in own]
        sizes = await asyncio.to_thread(lambda: [trees.usage(path) for path in paths])
        return [
            self._json(volume)
            | {"UsageData": {"Size": size, "RefCount": len(self._registry.holders(volume.name))}}
            for volume, size in zip(own, sizes, strict=True)
        ]

    async def lost(self) -> Sequence[Finding]:
        """Volumes without a directory, and directories that should be volumes: for people to mend."""
        registry, known = self._registry, set(self._registry.volumes)
        missing, strays = await asyncio.to_thread(registry.directories.compare, known)
        return [
            *(
                Finding(f"volume {it}", "its directory is missing")
                for it in missing
                if it in registry.volumes
            ),
            *(
                Finding(f"directory {registry.directories.root}/{it}", _STRAY)
                for it in strays
                if it not in registry.volumes
            ),
        ]

    async def _prune(self, filters: Filters) -> Json:
        deleted, reclaimed = [], 0
        for volume in self._volumes():
            if not rules.prunable(volume, filters) or self._registry.holders(volume.name):
                continue
            size = await asyncio.to_thread(trees.usage, self._registry.directories.data(volume.name))
            try:
                await self.remove(volume.name)
            except (Conflict, NotFound):
                continue  # taken or removed meanwhile
            deleted.append(volume.name)
            reclaimed += size
        self._registry.pruned(reclaimed)
        return {"VolumesDeleted": deleted, "SpaceReclaimed": reclaimed}

    def _volumes(self) -> Sequence[Volume]:
        return [volume for _, volume in sorted(self._registry.volumes.items())]

    def _json(self, volume: Volume) -> Json:
        return as_json(volume, self._registry.directories.data(volume.name))


def _wish(body: Json) -> Wish:
    if not isinstance(body, dict):
        raise InvalidArgument("invalid JSON: expected an object")
    try:
        given = msgspec.convert({key.lower(): value for key, value in body.items()}, _Body)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid JSON: {str(error).lower()}") from None
    if given.clustervolumespec is not None:
        raise Unavailable(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
            "this node to swarm and try again."
        )
    return Wish(
        name=given.name or "", driver=given.driver or "", labels=given.labels, options=given.driveropts
    )
