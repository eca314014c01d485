"""What builds keep, as a whole: shown, pruned, and after each build made as small as the policy wants it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from onggi.archive import trees
from onggi.build.holders import Locks, Shelf
from onggi.build.policy import CONTEXT, STEP, Entry, Policy, Rule, chosen
from onggi.build.workshop import Workshop
from onggi.errors import OnggiError
from onggi.kernel.failpoints import failpoint
from onggi.times import rfc3339_fixed

Json = Any
_PAUSE_S, _PAUSES = 3, 20  # builds often come one after the other, and are not to be slowed by this
logger = logging.getLogger(__name__)


class Used(NamedTuple):
    """What does not go: steps and contexts that builds in progress have, and images of containers."""

    steps: Collection[str] = ()
    contexts: Collection[str] = ()
    images: Collection[str] = ()


class Housekeeping:
    """Of one engine; ``used`` tells what builds have at the moment."""

    def __init__(self, workshop: Workshop, locks: Locks, policy: Policy, used: Callable[[], Used]) -> None:
        self._workshop, self._locks, self._policy, self._used = workshop, locks, policy, used
        self._shelf = Shelf(f"{workshop.directory}/caches")
        self._one = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._steps: dict[str, int] = {}  # when builds that have ended used them

    def recover(self) -> None:
        """At start: remove what a kill has left. Blocking."""
        self._shelf.recover()

    async def records(self) -> list[Json]:
        """docker's BuildCache records."""
        return [_record(entry) for entry in await self._entries()]

    async def prune(self, rule: Rule) -> tuple[list[str], int]:
        """Remove what a rule lets go; the keys, and the bytes that are free. Raises InvalidArgument."""
        async with self._one:
            return await self._prune(rule)

    async def _prune(self, rule: Rule) -> tuple[list[str], int]:
        gone = chosen(await self._entries(), rule, await asyncio.to_thread(self._free))
        steps = [entry for entry in gone if entry.kind == STEP]
        freed = 0
        if steps or not (rule.filters or rule.reserved or rule.max_used or rule.min_free):
            freed = await self._workshop.cache.drop(steps, self._used().images)
            self._workshop.images.forget()
        for entry in gone:
            # Between this look and the change of names nothing else runs, so that nobody can begin to use it.
            if entry.kind != STEP and not self._has(entry):
                aside = self._shelf.put_aside(entry.key)
                failpoint("build.prune.aside")
                await asyncio.to_thread(trees.remove, aside)
                freed += entry.size
        return [entry.key for entry in gone], freed

    def after_build(self, steps: Collection[str]) -> None:
        """Note which steps were used, and let the policy take effect, soon and beside everything else."""
        self._steps |= dict.fromkeys(steps, time.time_ns())
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_house())

    async def close(self) -> None:
        """Let go; what is half removed goes at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep_house(self) -> None:
        while self._again:
            for _ in range(_PAUSES):
                self._again = False
                await asyncio.sleep(_PAUSE_S)
                if not self._again:
                    break
            self._again = False
            try:
                await self._noted()
                for rule in self._policy.on(await asyncio.to_thread(self._disk)):
                    await self.prune(rule)
            except OnggiError as error:
                logger.warning("the build cache was not made smaller: %s", error)

    async def _noted(self) -> None:
        steps, self._steps = self._steps, {}
        if steps:
            await self._workshop.cache.touch(steps)

    async def _entries(self) -> list[Entry]:
        await self._noted()
        kept = [
            entry._replace(in_use=self._has(entry)) for entry in await asyncio.to_thread(self._shelf.entries)
        ]
        for entry in kept:
            if entry.in_use:
                self._shelf.forget(entry.key)
        return [*await self._workshop.cache.entries(self._used().steps), *kept]

    def _has(self, entry: Entry) -> bool:
        name = os.path.basename(entry.key)
        return name in self._used().contexts if entry.kind == CONTEXT else self._locks.has(name)

    def _disk(self) -> int:
        disk = os.statvfs(self._workshop.directory)
        return disk.f_blocks * disk.f_frsize

    def _free(self) -> int:
        disk = os.statvfs(os.path.dirname(self._workshop.directory))
        return disk.f_bavail * disk.f_frsize


def _record(entry: Entry) -> Json:
    return {
        "ID": os.path.basename(entry.key)[:25],
        "Parents": None,
        "Type": entry.kind,
        "Description": entry.description,
        "InUse": entry.in_use,
        "Shared": entry.shared,
        "Size": entry.size,
        "CreatedAt": rfc3339_fixed(entry.created_ns),
        "LastUsedAt": rfc3339_fixed(entry.used_ns),
        "UsageCount": entry.uses,
    }
