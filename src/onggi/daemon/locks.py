"""One engine per data root and per exec root, by flock(2): a lock dies with its holder."""

from __future__ import annotations

import fcntl
import os
import time

from onggi.daemon.config import Config
from onggi.daemon.sockets import served
from onggi.errors import Conflict
from onggi.store.layout import make_private

_RETRY_S = 0.02
_PATIENCE_S = 30.0


class Locks:
    """Both locks, held until ``release`` or death."""

    def __init__(self, fds: list[int]) -> None:
        self.fds = fds

    def release(self) -> None:
        """Idempotent."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []


def acquire(config: Config) -> Locks | None:
    """Make both directories and lock them; None if another engine serves this exec root (on demand only).

    Raises Conflict if somebody else holds one of them.
    """
    for root in (config.exec_root, config.data_root):
        os.makedirs(os.path.dirname(root), exist_ok=True)
        make_private(root)
    deadline = time.monotonic() + _PATIENCE_S
    # The exec root first: who holds it is the one that other starters wait for.
    while (own := _try(config.exec_root)) < 0:
        if config.on_demand and served(config.socket_path):
            return None
        if not config.on_demand or time.monotonic() > deadline:
            raise Conflict(_held(config.exec_root))
        # The holder is not serving yet, or is on its way out: in both cases it will not take long.
        time.sleep(_RETRY_S)
    data = _try(config.data_root)
    if data < 0:
        os.close(own)
        raise Conflict(_held(config.data_root))
    return Locks([own, data])


def _try(root: str) -> int:
    fd = os.open(f"{root}/onggid.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return -1
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def _held(root: str) -> str:
    with open(f"{root}/onggid.lock", encoding="ascii", errors="replace") as file:
        holder = file.read(32).strip()
    return f"another engine (process {holder or 'unknown'}) already uses {root}"
