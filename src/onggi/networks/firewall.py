"""Keeps the machine's packet filter as our networks want it, whoever flushes it meanwhile.

One transaction at a time; changes that come while one runs share the next. Ports are changed by messages, all
else by nft(8).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from onggi.errors import OnggiError
from onggi.kernel import nft
from onggi.kernel.netlink import NETFILTER, Netlink
from onggi.networks import foreign, rules
from onggi.networks.rules import Ruleset

logger = logging.getLogger("onggid")
_TRIES = 3
_SETTLE_S = 0.1  # a reload flushes first and then loads what it has


class Firewall:
    """The rules of one engine."""

    def __init__(self, table: str, on_restored: Callable[[], None]) -> None:
        self.table, self._on_restored = table, on_restored
        self._wanted = Ruleset()
        self._applied: Ruleset | None = Ruleset()  # None: unknown
        self._lock = asyncio.Lock()
        self._watch: nft.Watch | None = None
        self._netlink: Netlink | None = None  # kept: to close it after a deletion takes 10 ms
        self._repair: asyncio.Task[None] | None = None
        self._look: asyncio.Task[None] | None = None
        # Chains of others that drop what is ours, and will not be opened.
        self.obstacles: tuple[str, ...] = ()

    async def change(self, wanted: Ruleset) -> None:
        """Make it so; returns when it is. Raises Unsupported without nft, KernelError if it refuses."""
        self._wanted = wanted
        async with self._lock:
            await self._apply()

    async def forget(self) -> None:
        """What is there is of an earlier engine: the next change replaces all of it."""
        self._applied = None

    async def _apply(self) -> None:
        wanted, previous = self._wanted, self._applied
        if wanted == previous:
            return
        self._begin_watch()
        self._applied = None
        try:
            await asyncio.to_thread(self._carry_out, previous, wanted)
        except OnggiError:
            if previous is not None:
                self._applied = previous  # all or nothing: it is as it was
            raise
        self._applied = wanted
        if previous is None or previous.segments != wanted.segments:
            await asyncio.to_thread(self._pass_others, wanted)
        if self._watch is not None and self._watch.losses() > 1:
            self._repair_later()  # somebody else was at it at the same time

    def _carry_out(self, previous: Ruleset | None, wanted: Ruleset) -> None:
        messages = rules.exchange(self.table, previous, wanted)
        if messages is None:
            nft.apply(rules.transaction(self.table, wanted))
            return
        if self._netlink is None:
            self._netlink = Netlink(NETFILTER)
        nft.transact(self._netlink, messages)

    def _pass_others(self, wanted: Ruleset) -> None:
        """Stand in other people's chains where they would drop what is ours, and nowhere else."""
        for _ in range(_TRIES):  # theirs may change between our look and our rule
            self.obstacles = ()
            done = nft.run(["-j", "list", "ruleset"])
            if done.code != 0:
                return  # an old nft without JSON: what it shows cannot be read
            view = foreign.view_of(msgspec.json.decode(done.output or b"{}"))
            bridges = {(entry.bridge, entry.six) for entry in wanted.segments if not entry.internal}
            ought = foreign.wanted(view, self.table, bridges)
            text = foreign.transaction(self.table, foreign.present(view, self.table), ought)
            try:
                nft.apply(text)
            except OnggiError as error:
                self.obstacles = tuple(sorted({str(entry.place) for entry in ought}))
                logger.warning("packets may be dropped by %s: %s", ", ".join(self.obstacles), error)
            else:
                return

    def _begin_watch(self) -> None:
        if self._watch is None:
            self._watch = nft.Watch(self.table)
            asyncio.get_running_loop().add_reader(self._watch.fileno(), self._happened)

    def _happened(self) -> None:
        if self._lock.locked() or self._watch is None:
            return  # our own change: it looks for itself when it is done
        if self._watch.losses():
            self._repair_later()
        elif self._watch.others and (self._look is None or self._look.done()):
            self._look = asyncio.get_running_loop().create_task(self._look_at_others())

    async def _look_at_others(self) -> None:
        """Somebody changed a filter of theirs: a reload, or a new one that would drop what is ours."""
        await asyncio.sleep(_SETTLE_S)
        async with self._lock:
            if self._applied is not None:
                try:
                    await asyncio.to_thread(self._pass_others, self._applied)
                except OnggiError as error:
                    logger.warning(
                        "a packet filter of another program may drop containers' traffic: %s", error
                    )
            if self._watch is not None:
                self._watch.losses()  # our own openings are no news

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
        for task in filter(None, (self._repair, self._look)):
            task.cancel()
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None
