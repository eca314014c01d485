"""The line that counts what ``cp`` copies, on a terminal at standard error."""

from __future__ import annotations

import os
from time import monotonic

from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_INTERVAL_S = 0.075
_SAVE, _RESTORE, _ERASE, _ERASE_TAIL, _HIDE, _SHOW = (
    "\033[s",
    "\033[u",
    "\033[2K",
    "\033[0K",
    "\033[?25l",
    "\033[?25h",
)


class Counter:
    """Counts bytes and shows them behind ``header`` where standard error is a terminal, unless quiet."""

    def __init__(self, header: str, quiet: bool) -> None:
        self._header, self._quiet = header, quiet
        self._live = not quiet and os.isatty(2)
        self._total, self._next = 0, 0.0

    def __enter__(self) -> None:
        if self._live:
            start = f"{_SAVE}Preparing to copy...{_HIDE}{_RESTORE}{_ERASE}"
            _write(f"{start}{self._header}{human_size(0, 3)}")

    def __exit__(self, *_: object) -> None:
        if self._live:
            _write(f"{_SHOW}{_RESTORE}{_ERASE}")

    def count(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces and count them."""
        for piece in pieces:
            self._total += len(piece)
            if self._live and monotonic() >= self._next:
                self._next = monotonic() + _INTERVAL_S
                _write(f"\033[{len(self._header) + 1}G{_ERASE_TAIL}{human_size(self._total, 3)}")
            yield piece

    def done(self, where: str) -> None:
        """Say how much was copied."""
        if not self._quiet:
            _write(f"Successfully copied {human_size(self._total, 3)} to {where}\n")


def _write(text: str) -> None:
    os.write(2, text.encode("utf-8", "surrogateescape"))
