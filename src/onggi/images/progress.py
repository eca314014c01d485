"""docker's progress messages of one piece of work, for any number of followers, the late ones too.

What is said is kept and told to each in order; how many bytes have moved is told as it is when somebody
looks, so that neither a slow follower nor a fast disk piles anything up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

Json = Any
Messages = AsyncGenerator[Json, None]
_PERIOD_S = 0.1
_BAR = 50
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Transfer:
    """Bytes on their way: counted by one worker thread, read by anybody. ``total`` is 0 where unknown."""

    def __init__(self, total: int = 0) -> None:
        self.current, self.total = 0, total


class Progress:
    """Messages in the shape of docker's JSON stream (Engine API, CreateImageInfo)."""

    def __init__(self) -> None:
        self._said: list[Json] = []
        self._moving: dict[str, tuple[str, Transfer]] = {}

    def say(self, status: str, id: str = "", **more: Json) -> None:
        """Tell something once; with an ``id`` it replaces what was shown under it."""
        self._moving.pop(id, None)
        about: Json = {"progressDetail": {}, "id": id} if id else {}
        self._said.append({"status": status, **about, **more})

    def tell(self, message: Json) -> None:
        """Tell a message of another shape once."""
        self._said.append(message)

    def move(self, status: str, id: str, transfer: Transfer) -> None:
        """Show the bytes of a transfer under ``id`` until something else is said of it."""
        self._moving[id] = (status, transfer)

    async def follow(self, work: Awaitable[object]) -> Messages:
        """Every message from the first, until ``work`` is done; then raises what it raised."""
        task = asyncio.ensure_future(work)
        told, shown = 0, dict[str, int]()
        while True:
            done = task.done()  # asked first: what is said before the end is told
            while told < len(self._said):
                yield self._said[told]
                told += 1
            for key, (status, transfer) in list(self._moving.items()):
                if transfer.current != shown.get(key):
                    shown[key] = transfer.current
                    yield moving(status, key, transfer)
            if done:
                task.result()
                return
            await asyncio.wait([task], timeout=_PERIOD_S)


def moving(status: str, id: str, transfer: Transfer) -> Json:
    """One message about bytes on their way, with docker's bar."""
    detail = {"current": transfer.current} | ({"total": transfer.total} if transfer.total else {})
    message = {"status": status, "progressDetail": detail, "progress": _bar(transfer.current, transfer.total)}
    return message | ({"id": id} if id else {})


def _bar(current: int, total: int) -> str:
    if total <= 0 or current > total:
        return f"{size(current):>8}"
    filled = current * _BAR // total
    head = "=" * filled + ">" if filled < _BAR else "=" * _BAR
    return f"[{head:<{_BAR}}] {size(current):>8}/{size(total)}"


def size(count: int) -> str:
    """Bytes for people, with four digits at most: ``12.34MB``."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.4g}{_UNITS[unit]}"
