"""Turns: a few begin at once, so that what has begun is soon done and others are answered meanwhile.

Two of three places that fall free go to who came last, the third to who waits longest: a crowd keeps nobody
who comes behind it waiting for all of it, and none of it waits for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

PATIENCE_S = 5.0


class Turn:
    """A place among those who have begun, as a context. Whoever takes long waits for something else than a
    processor (a mount, a network): his place goes to another.
    """

    def __init__(self, pass_on: Callable[[], None]) -> None:
        self._pass_on = pass_on
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self.end)
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Let another begin. Idempotent."""
        if not self._ended:
            self._ended = True
            self._timer.cancel()
            self._pass_on()


class Turns:
    """``limit`` places."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._given = 0

    async def take(self) -> Turn:
        """A turn, when it has come."""
        if self._free:
            self._free -= 1
            return Turn(self._pass_on)
        coming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(coming)
        try:
            await coming
        except asyncio.CancelledError:
            if coming.done() and not coming.cancelled():
                self._pass_on()
            raise
        return Turn(self._pass_on)

    def _pass_on(self) -> None:
        while self._waiting:
            self._given += 1
            coming = self._waiting.pop() if self._given % 3 else self._waiting.popleft()
            if not coming.done():
                coming.set_result(None)
                return
        self._free += 1
