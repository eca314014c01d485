"""The file that names the daemon's process, for supervisors that want one."""

from __future__ import annotations

import os

from onggi.errors import Conflict, KernelError
from onggi.kernel.files import write_atomic


class PidFile:
    """Written at once; raises Conflict if the process that an older one names still runs."""

    def __init__(self, path: str) -> None:
        self._path = path
        pid = _read_pid(path)
        if pid and pid != os.getpid() and os.path.exists(f"/proc/{pid}"):
            raise Conflict(f"process with PID {pid} is still running: see {path}")
        try:
            write_atomic(path, b"%d\n" % os.getpid(), 0o644, durable=False)
        except OSError as error:
            raise KernelError("write", error.errno or 0, path) from None

    def remove(self) -> None:
        """Remove it if it is still ours. Idempotent."""
        if _read_pid(self._path) == os.getpid():
            os.unlink(self._path)


def _read_pid(path: str) -> int:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(32).strip()
    except FileNotFoundError:
        return 0
    return int(text) if text.isdigit() else 0
