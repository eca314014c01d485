"""The directories of volumes: made, promised, and put aside.

A directory that is not promised to anybody has the sticky bit. It is taken off when the row is durable, and
set again before the row goes. So what a kill leaves is told apart from a volume whose row is missing for
another reason (a database that was lost or put back): the one is deleted, the other becomes a volume again.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from onggi.errors import KernelError
from onggi.store.durable import sync_directory
from onggi.store.layout import make_private
from onggi.store.trash import Trash
from onggi.volumes.model import ANONYMOUS, Volume, is_name

_UNPROMISED, _PROMISED = 0o1700, 0o700
_MADE_UP = frozenset("0123456789abcdef")


class Directories:
    """All below one root. Blocking."""

    def __init__(self, root: str) -> None:
        self.root = root
        make_private(root)
        make_private(f"{root}/.trash")
        self.trash = Trash(f"{root}/.trash")

    def data(self, name: str) -> str:
        """The content of a volume."""
        return f"{self.root}/{name}/_data"

    def make(self, name: str) -> None:
        """An empty volume that is promised to nobody yet; what an earlier try left is put aside."""
        path = f"{self.root}/{name}"
        try:
            self._make(path)
        except FileExistsError:
            self.trash.put(path)
            self._make(path)
        except OSError as error:
            raise KernelError("mkdir", error.errno or 0, path) from None

    @staticmethod
    def _make(path: str) -> None:
        os.mkdir(path, _PROMISED)
        os.chmod(path, _UNPROMISED)
        os.mkdir(f"{path}/_data", 0o755)
        os.chmod(f"{path}/_data", 0o755)  # whatever the umask

    def sync(self, names: Iterable[str]) -> None:
        """Make new volumes durable, before their rows."""
        for name in names:
            sync_directory(f"{self.root}/{name}")
        sync_directory(self.root)

    def promise(self, names: Iterable[str]) -> None:
        """Their rows are durable."""
        self._mark(names, _PROMISED)

    def take_back(self, names: Iterable[str]) -> None:
        """Their rows will go."""
        self._mark(names, _UNPROMISED)

    def discard(self, names: Iterable[str]) -> None:
        """Their rows are durably gone. From any thread."""
        for name in names:
            self.trash.put(f"{self.root}/{name}")

    def recover(self, known: Iterable[str]) -> list[Volume]:
        """At start: put aside what a kill left, and find volumes that lost their rows."""
        rows, found = set(known), []
        for name in set(os.listdir(self.root)) - {".trash"}:
            path = f"{self.root}/{name}"
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                continue  # not ours
            self.trash.put_aside(f"{path}/_copy")
            if name not in rows and status.st_mode & stat.S_ISVTX:
                self.trash.put_aside(path)
            elif name not in rows and os.path.isdir(f"{path}/_data") and is_name(name):
                found.append(_found(name, status.st_ctime_ns))
        return found

    def compare(self, known: AbstractSet[str]) -> tuple[list[str], list[str]]:
        """Names of volumes that lie nowhere, and of promised directories that are no ``known`` volume's."""
        missing = [name for name in known if not os.path.isdir(self.data(name))]
        strays = []
        for name in set(os.listdir(self.root)) - {".trash"} - known:
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                mode = os.lstat(f"{self.root}/{name}").st_mode
                if stat.S_ISDIR(mode) and not mode & stat.S_ISVTX:
                    strays.append(name)
        return sorted(missing), sorted(strays)

    def _mark(self, names: Iterable[str], mode: int) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.chmod(f"{self.root}/{name}", mode)


def _found(name: str, created_ns: int) -> Volume:
    made_up = len(name) == 64 and set(name) <= _MADE_UP
    return Volume(name=name, created_ns=created_ns, labels={ANONYMOUS: ""} if made_up else None)
