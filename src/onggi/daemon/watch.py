"""Keeps a launcher running: whichever of engine and launcher dies is started again by the other."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from onggi.errors import KernelError, Unavailable
from onggi.kernel.process import pidfd_open

_RETRY_S = 0.5
logger = logging.getLogger("onggid")


class LauncherWatch:
    """Opens a launcher (blocking, some 50 ms) and opens another one as soon as it has ended.

    ``open_launcher`` connects to the running one or starts one, and returns its pid. Containers do not
    notice.
    """

    def __init__(self, open_launcher: Callable[[], int]) -> None:
        self._open = open_launcher
        self._pidfd = -1
        self._retry: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Open it for the first time; raises Unavailable."""
        self._watch(self._open())

    def close(self) -> None:
        """Stop watching; the launcher goes on. Idempotent."""
        if self._retry:
            self._retry.cancel()
        self._forget()

    def _watch(self, pid: int) -> None:
        try:
            self._pidfd = pidfd_open(pid)
        except KernelError:
            self._again()  # it ended at once
            return
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended, pid)

    def _ended(self, pid: int) -> None:
        self._forget()
        logger.warning("the launcher (process %d) ended; starting another", pid)
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass  # it was started by an engine before us
        self._again()

    def _again(self) -> None:
        try:
            self._watch(self._open())
        except (Unavailable, OSError) as error:
            logger.error("no launcher: %s", error)
            self._retry = asyncio.get_running_loop().call_later(_RETRY_S, self._again)

    def _forget(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
