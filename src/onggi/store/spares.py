"""Empty directories that wait for their next use, because making and removing one is dear.

A file system that is mounted with ``discard`` waits for the disk at every rmdir, and one without a journal
searches long for an inode while others have just been freed; a rename costs neither. Only directories that
no container can reach are kept: never an upper directory, which whoever still holds a descriptor of the old
root would see filled again.

    <data-root>/spares/<n>, <exec-root>/spares/<n>      mode 0700, empty
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Sequence

_MOST = 32


class Spares:
    """Makes and removes directories on one file system, from any thread; every call is short and blocking."""

    def __init__(self, place: str) -> None:
        """``place`` holds the spares; those of an earlier process are removed."""
        self._place = place
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place, 0o700)
        self._kept: list[str] = []
        self._numbers = itertools.count(1)

    def make(self, path: str) -> None:
        """``mkdir`` with mode 0700; where a directory may be already, use makedirs instead."""
        try:
            os.rename(self._kept.pop(), path)
        except (IndexError, OSError):
            os.mkdir(path, 0o700)

    def remove(self, path: str, names: Sequence[str] = ()) -> None:
        """Remove a directory with the files ``names``, absent or not; others in it take the slow way."""
        for name in names:
            try:
                os.unlink(f"{path}/{name}")
            except FileNotFoundError:
                continue
            except OSError:
                break
        if not self.remove_empty(path):
            shutil.rmtree(path, ignore_errors=True)

    def remove_empty(self, path: str) -> bool:
        """``rmdir``; False if something is in it. An absent directory is fine."""
        try:
            if os.listdir(path):
                return False
            if len(self._kept) >= _MOST:
                os.rmdir(path)
                return True
            kept = f"{self._place}/{next(self._numbers)}"
            os.rename(path, kept)
            self._kept.append(kept)
        except OSError:
            return not os.path.lexists(path)
        return True
