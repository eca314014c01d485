"""When an engine that was started on demand may end: nothing to look after for a while (DECISIONS 15)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Idle:
    """Waits until ``busy`` has said no for ``timeout_s`` without a break.

    ``activity`` is a number that changes with every request: work between two looks counts too.
    """

    def __init__(self, timeout_s: float, busy: Callable[[], bool], activity: Callable[[], float]) -> None:
        self._timeout_s, self._busy, self._activity = timeout_s, busy, activity

    async def wait(self) -> None:
        """Return when the engine may end."""
        seen, since = self._activity(), time.monotonic()
        while time.monotonic() - since < self._timeout_s:
            await asyncio.sleep(min(1.0, max(0.05, self._timeout_s / 10)))
            if self._busy() or self._activity() != seen:
                seen, since = self._activity(), time.monotonic()
