"""``docker wait``: conditions, and the exit codes of containers that are already removed."""

from __future__ import annotations

import asyncio
from typing import Any

from onggi.containers.context import Context
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
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        try:
            container = self._context.find(ref)
        except NotFound:
            future.set_result({"StatusCode": self._context.tombstone(ref), "Error": None})
            return future
        if condition == "removed":
            container.removal_waiters.append(future)
        elif condition == "next-exit" or container.state.running:
            container.exit_waiters.append(future)
        else:
            error = container.state.error
            future.set_result(
                {"StatusCode": container.state.exit_code, "Error": {"Message": error} if error else None}
            )
        return future
