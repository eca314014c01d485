"""``docker wait``: conditions, and the exit codes of containers that are already removed."""

from __future__ import annotations

import asyncio
from typing import Any

from onggi.containers.context import Context
from onggi.containers.model import enlist, exit_answer
from onggi.errors import InvalidArgument, NotFound

Json = Any
CONDITIONS = ("", "not-running", "next-exit", "removed")


class Waiting:
    """Registers whoever waits for an end."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def wait(self, ref: str, condition: str = "") -> asyncio.Future[Json]:
        """A future of ``{"StatusCode", "Error"}``.

        Awaiting this call registers, awaiting the future waits.
        """
        if condition not in CONDITIONS:
            raise InvalidArgument(f'invalid condition: "{condition}"')
        try:
            container = self._context.find(ref)
        except NotFound:
            return _answered(self._context.tombstone(ref), "")
        if condition == "removed":
            return _register(container.removal_waiters)
        if condition == "next-exit" or container.state.running:
            return _register(container.exit_waiters)
        return _answered(container.state.exit_code, container.state.error)


def _answered(code: int, error: str) -> asyncio.Future[Json]:
    future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
    future.set_result(exit_answer(code, error))
    return future


def _register(waiters: list[asyncio.Future[Json]]) -> asyncio.Future[Json]:
    """A client that leaves cancels its future, which must not stay until the container ends."""
    future = enlist(waiters)

    def leave(ended: asyncio.Future[Json]) -> None:
        if ended.cancelled() and ended in waiters:
            waiters.remove(ended)

    future.add_done_callback(leave)
    return future
