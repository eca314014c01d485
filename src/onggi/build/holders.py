"""Directories of cache mounts: what steps keep for the next ones, beside all layers.

<data root>/build/caches/<digest of the name>[.<number>]/fs      what is mounted
<data root>/build/caches/<digest of the name>[.<number>]/name    its name, for people; touched by each use
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import NamedTuple

from onggi.archive import trees
from onggi.build.policy import CONTEXT, MOUNT, Entry
from onggi.store.layout import make_private

_MAX_NAME = 4096
_DIRECTORY = re.compile(r"[0-9a-f]{64}(\.[0-9]+)?")


class Wish(NamedTuple):
    """A cache as a step asks for it; mode and owner are for one that is new. ``base`` names the files that it
    begins with: with others it is another cache.
    """

    name: str
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    base: str = ""


def digest(wish: Wish) -> str:
    """What a cache's directory is called: its name is the Dockerfile's, and no path."""
    return sha256((f"{wish.name}\0{wish.base}" if wish.base else wish.name).encode()).hexdigest()


def make(path: str, wish: Wish) -> None:
    """Make the directories of a cache, or note that it is used. Blocking."""
    _name(path, wish)
    try:
        os.mkdir(f"{path}/fs", 0o700)
    except FileExistsError:
        return  # as the first step that used it wanted it
    _own(f"{path}/fs", wish._replace(mode=0o755 if wish.mode is None else wish.mode))


def begin(path: str, wish: Wish, files: str) -> None:
    """Let a cache begin with files of ours; who was quicker stays. Not for two threads at once."""
    _name(path, wish)
    if not os.path.lexists(f"{path}/fs"):
        _own(files, wish)
        os.rename(files, f"{path}/fs")


def _name(path: str, wish: Wish) -> None:
    make_private(os.path.dirname(path))
    make_private(path)
    with open(f"{path}/name", "w", encoding="utf-8", errors="replace") as file:
        file.write(wish.name[:_MAX_NAME])


def _own(path: str, wish: Wish) -> None:
    os.chown(path, -1 if wish.uid is None else wish.uid, -1 if wish.gid is None else wish.gid)
    if wish.mode is not None:
        os.chmod(path, wish.mode & 0o7777)


class _Users:
    """Those who have one cache, or wait for it."""

    def __init__(self) -> None:
        self.count, self.lock, self.taken = 0, asyncio.Lock(), set[int]()

    @asynccontextmanager
    async def one_more(self, name: str, sharing: str) -> AsyncIterator[str]:
        """The directory that the next one has."""
        if sharing == "locked":
            async with self.lock:
                yield name
        elif sharing == "private":
            number = next(it for it in range(len(self.taken) + 1) if it not in self.taken)
            self.taken.add(number)
            try:
                yield f"{name}.{number}"
            finally:
                self.taken.discard(number)
        else:
            yield name


class Locks:
    """Who has which cache; for all builds of an engine."""

    def __init__(self) -> None:
        self._users: dict[str, _Users] = {}

    @asynccontextmanager
    async def use(self, name: str, sharing: str) -> AsyncIterator[str]:
        """The directory of a cache: had alone (locked), of several the first that is free (private), or
        with others.
        """
        users = self._users.setdefault(name, _Users())
        users.count += 1
        try:
            async with users.one_more(name, sharing) as directory:
                yield directory
        finally:
            users.count -= 1
            if not users.count:
                del self._users[name]

    def has(self, directory: str) -> bool:
        """Whether somebody has this cache, or is about to."""
        return directory.partition(".")[0] in self._users


class Shelf:
    """The directories that builds keep: cache mounts, and contexts below ``contexts``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._sizes: dict[str, tuple[int, int]] = {}  # by key: when it was used last, and its size then

    def entries(self) -> list[Entry]:
        """All of them, measured where they were used since. Blocking."""
        found = [self._entry(name, "name", "fs", MOUNT) for name in _names(self.path)]
        contexts = _names(f"{self.path}/contexts")
        found += [self._entry(f"contexts/{name}", "generation", "tree", CONTEXT) for name in contexts]
        known = [entry for entry in found if entry]
        for key in self._sizes.keys() - {entry.key for entry in known}:
            del self._sizes[key]
        return known

    def _entry(self, key: str, mark: str, tree: str, kind: str) -> Entry | None:
        path = f"{self.path}/{key}"
        try:
            status = os.stat(f"{path}/{mark}")
            with open(f"{path}/{mark}", encoding="utf-8", errors="replace") as file:
                name = file.read(_MAX_NAME)
        except OSError:
            return None  # just being made, or removed
        used_ns, size = self._sizes.get(key, (0, 0))
        if used_ns != status.st_mtime_ns:
            size = trees.usage(f"{path}/{tree}")
            self._sizes[key] = status.st_mtime_ns, size
        told = f"cached mount {name}" if kind == MOUNT else "local source for context"
        return Entry(key, kind, told, int(status.st_ctime_ns), int(status.st_mtime_ns), size=size)

    def forget(self, key: str) -> None:
        """Measure it again: it was being used when it was measured."""
        self._sizes.pop(key, None)

    def put_aside(self, key: str) -> str:
        """Take a directory that nobody has out of its place, at once; its path then, to be removed."""
        aside = f"{self.path}/.{key.replace('/', '-')}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{self.path}/{key}", aside)
        return aside

    def recover(self) -> None:
        """At start: remove what a kill has left aside. Blocking."""
        for name in os.listdir(self.path) if os.path.isdir(self.path) else []:
            if name.startswith("."):
                trees.remove(f"{self.path}/{name}")


def _names(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if _DIRECTORY.fullmatch(name))
    except FileNotFoundError:
        return []
