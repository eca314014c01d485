"""Files that are sent to the engine as they are."""

from __future__ import annotations

import os

from onggi.cli.command import Failure
from onggi.client.errors import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 18


def pieces(source: str) -> Iterator[bytes]:
    """Open a file ("-" is standard input) now, so that a missing one is told before the engine is asked;
    read it when it is sent."""
    if source == "-":
        return _read(0)
    try:
        return _read(os.open(source, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise Failure(f"open {source}: {reason(error)}") from None


def _read(fd: int) -> Iterator[bytes]:
    try:
        while data := os.read(fd, _PIECE):
            yield data
    finally:
        os.close(fd)
