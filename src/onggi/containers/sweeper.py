"""Deletes files of containers that are gone, beside the answer: a file system that discards waits for the
disk at each rmdir.

What is not deleted when the engine is killed is named by no row, and deleted at the next start.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)
_MOST = 64  # behind by more, whoever removes containers does the work
# The answer goes out first: the thread that writes it would share the interpreter's lock with the deletions.
_PATIENCE_S = 0.02


class Sweeper:
    """One thread, started with the first work."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def put(self, job: Callable[[], None]) -> None:
        """Do ``job`` soon, or now if too much waits."""
        if self._jobs.qsize() >= _MOST:
            _do(job)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def close(self) -> None:
        """Finish what was asked for. Idempotent, and more may be asked for afterwards."""
        if self._thread is not None:
            self._closing.set()
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
            self._closing.clear()

    def _run(self) -> None:
        while True:
            jobs = [self._jobs.get()]
            self._closing.wait(_PATIENCE_S)
            while jobs[-1] is not None and not self._jobs.empty():
                jobs.append(self._jobs.get())
            for job in jobs:
                if job is None:
                    return
                _do(job)


def _do(job: Callable[[], None]) -> None:
    try:
        job()
    except Exception:
        logger.exception("files of a removed container were not deleted")
