"""What no row names any more: put aside by a rename, which is quick, and deleted by a thread of its own."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import uuid

from onggi.archive import trees
from onggi.errors import KernelError


class Trash:
    """One directory of things to be deleted. Any thread may call; only ``empty`` and ``close`` take time."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._pending: set[str] = set()  # what is being deleted, or will be
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._deleting = threading.Lock()

    def put(self, path: str) -> None:
        """Put a file or tree aside and have it deleted. An absent one is fine."""
        aside = self.put_aside(path)
        if not aside:
            return
        with self._lock:
            self._pending.add(aside)
            self._queue.put(aside)
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name="trash", daemon=True)
                self._thread.start()

    def put_aside(self, path: str) -> str:
        """Put something aside for the next ``empty``; returns where it is, empty if there was nothing."""
        aside = f"{self._directory}/{uuid.uuid4().hex}"
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise KernelError("rename", error.errno or 0, path) from None
        return aside

    def empty(self) -> None:
        """Delete everything, also of earlier processes. As long as it takes: for a worker thread."""
        paths = self._paths()
        self._pending.update(paths)
        for path in paths:
            self._delete(path)

    def left(self) -> list[str]:
        """What lies here and nobody is going to delete."""
        return [path for path in self._paths() if path not in self._pending]

    def close(self) -> None:
        """Wait until everything that was ``put`` is deleted. Further calls are allowed."""
        while thread := self._thread:
            thread.join()

    def _main(self) -> None:
        while True:
            with self._lock:
                try:
                    path = self._queue.get_nowait()
                except queue.Empty:
                    self._thread = None
                    return
            with contextlib.suppress(KernelError):  # a job still writes there: the next start deletes it
                self._delete(path)

    def _delete(self, path: str) -> None:
        try:
            with self._deleting:
                trees.remove(path)
        finally:
            self._pending.discard(path)

    def _paths(self) -> list[str]:
        return [f"{self._directory}/{name}" for name in sorted(os.listdir(self._directory))]
