"""Keeps the machine's packet filter as our networks want it, whoever flushes it meanwhile.

One nft(8) transaction at a time; changes that come while one runs share the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from onggi.errors import OnggiError
from onggi.kernel import nft
from onggi.networks import rules
from onggi.networks.rules import Ruleset

logger = logging.getLogger("onggid")
_SETTLE_S = 0.1  # a reload flushes first and then loads what it has


class Firewall:
    """The rules of one engine."""

    def __init__(self, table: str, on_restored: Callable[[], None]) -> None:
        self.table, self._on_restored = table, on_restored
        self._wanted = Ruleset()
        self._applied: Ruleset | None = Ruleset()  # None: unknown
        self._lock = asyncio.Lock()
        self._watch: nft.Watch | None = None
        self._repair: asyncio.Task[None] | None = None

    @property
    def wanted(self) -> Ruleset:
        return self._wanted

    async def change(self, wanted: Ruleset) -> None:
        """Make it so; returns when it is. Raises Unsupported without nft, KernelError if it refuses."""
        self._wanted = wanted
        async with self._lock:
            await self._apply()

    async def forget(self) -> None:
        """What is there is of an earlier engine: the next change replaces all of it."""
        self._applied = None

    async def _apply(self) -> None:
        wanted = self._wanted
        text = rules.transaction(self.table, self._applied, wanted)
        if not text:
            return
        self._begin_watch()
        previous, self._applied = self._applied, None
        try:
            await asyncio.to_thread(nft.apply, text)
        except OnggiError:
            if previous is not None:
                self._applied = previous  # all or nothing: it is as it was
            raise
        self._applied = wanted
        if self._watch is not None and self._watch.losses() > 1:
            self._repair_later()  # somebody else was at it at the same time

    def _begin_watch(self) -> None:
        if self._watch is None:
            self._watch = nft.Watch(self.table)
            asyncio.get_running_loop().add_reader(self._watch.fileno(), self._happened)

    def _happened(self) -> None:
        if self._lock.locked() or self._watch is None:
            return  # our own change: it looks for itself when it is done
        if self._watch.losses():
            self._repair_later()

    def _repair_later(self) -> None:
        if self._repair is None or self._repair.done():
            self._repair = asyncio.get_running_loop().create_task(self._restore())

    async def _restore(self) -> None:
        await asyncio.sleep(_SETTLE_S)
        try:
            async with self._lock:
                self._applied = None
                await self._apply()
        except OnggiError as error:
            logger.error("the packet filter was flushed by another program and cannot be restored: %s", error)
            return
        logger.warning("the packet filter was flushed by another program; our rules are back")
        self._on_restored()

    def close(self) -> None:
        """Let go: the rules stay, as containers do."""
        if self._repair is not None:
            self._repair.cancel()
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None
