"""The one thread that speaks to the kernel about networks.

A network namespace belongs to a thread: this one may visit a container's and always comes back, while the
engine's own never leaves (decision 0071). What waits for the kernel's big network lock waits here, too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from onggi.kernel import syscalls
from onggi.kernel.netlink import Netlink

T = TypeVar("T")


class KernelThread:
    """Runs functions of the machine's netlink socket, one after the other."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "networks")
        self._netlink: Netlink | None = None

    async def run(self, work: Callable[[Netlink], T]) -> T:
        """What ``work`` returns; a cancelled caller does not stop it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, work)

    def _work(self, work: Callable[[Netlink], T]) -> T:
        if self._netlink is None:
            self._netlink = Netlink()
        return work(self._netlink)

    def close(self) -> None:
        """Finish what was asked for."""
        self._pool.shutdown()
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None


@contextmanager
def inside(netns: int) -> Iterator[None]:
    """The calling thread in another network namespace; only for ``KernelThread``'s."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(netns, syscalls.CLONE_NEWNET)
        try:
            yield
        finally:
            syscalls.setns(own, syscalls.CLONE_NEWNET)
    finally:
        os.close(own)
