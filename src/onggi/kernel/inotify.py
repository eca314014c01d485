"""inotify(7): a descriptor that becomes readable when a directory or file changes."""

from __future__ import annotations

import os

from onggi.kernel import syscalls

IN_MODIFY, IN_MOVED_TO, IN_CREATE = 0x2, 0x80, 0x100
DIRECTORY_CHANGES = IN_MODIFY | IN_MOVED_TO | IN_CREATE


class Watch:
    """Watches one path; what happened is not told apart, because the watcher looks at the files anyway."""

    def __init__(self, path: str, mask: int) -> None:
        self._fd = syscalls.inotify_init()
        try:
            syscalls.inotify_add_watch(self._fd, path, mask)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """The descriptor to poll, or -1 once closed."""
        return self._fd

    def drain(self) -> bool:
        """Forget what happened so far; whether anything did."""
        happened = False
        try:
            while os.read(self._fd, 65536):
                happened = True
        except BlockingIOError:
            pass  # nothing further is queued
        return happened

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
