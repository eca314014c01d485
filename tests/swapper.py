"""The link swapper: somebody who exchanges two directory entries without pause while a test works on them."""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

AT_FDCWD = -100
RENAME_EXCHANGE = 2

libc = ctypes.CDLL(None, use_errno=True)


def exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step (renameat2(2)); whether both were there."""
    arguments = (AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE)
    return bool(libc.renameat2(*arguments) == 0)


@contextlib.contextmanager
def swapping(first: Path, second: Path) -> Iterator[list[int]]:
    """Exchange the two until the block ends; the list's one number counts how often."""
    stop, count = threading.Event(), [0]

    def work() -> None:
        while not stop.is_set():
            count[0] += exchange(first, second)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join(30)
        _tell(count[0])


def rounds(short: int) -> int:
    """How often a test tries: ``ONGGI_ROUNDS`` where security/link_swapper.py asks for more than that."""
    return int(os.environ.get("ONGGI_ROUNDS", short))


def _tell(count: int) -> None:
    if path := os.environ.get("ONGGI_SWAPS"):
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].partition(" ")[0]
        with open(path, "a") as file:
            file.write(f"{test} {count}\n")
