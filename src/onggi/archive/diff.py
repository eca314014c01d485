"""What a container changed of its image: as a list, and as the tar stream of an image layer.

An upper directory of an overlay is what changed, with marks; a container that is a copy is compared with its
layers. Directories on the way to a change are part of it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from onggi.archive import names, tar
from onggi.archive.base import Base, Seen
from onggi.archive.overlay import is_opaque, is_whiteout
from onggi.archive.pack import Packer, xattrs_of
from onggi.archive.walk import Found, Opener, walk
from onggi.errors import InvalidArgument, KernelError

MODIFIED, ADDED, DELETED = range(3)  # docker's numbers


class Tree(NamedTuple):
    """A tree to compare: its top, the layers below it, and where it lies in the container (without leading
    ``/``). ``whole``: it has everything that is there, and no marks; ``touched`` are the files of it that
    are not the layers' even if they look alike.
    """

    top: Found
    base: Base
    place: bytes
    whole: bool
    stubs: frozenset[bytes] = frozenset()  # paths in it that are passed over
    touched: frozenset[bytes] = frozenset()


class Change(NamedTuple):
    """One change. ``opaque``: nothing of the layers' directory shows; a deletion is then ``implied``."""

    kind: int
    path: bytes
    found: Found | None
    opaque: bool = False
    implied: bool = False


class _Level:
    """A directory on the way to where the walk is. All of a ``covered`` one is new, whatever lies below;
    ``absent`` is what it no longer has, the last first.
    """

    def __init__(self, found: Found, base: Base, *, reported: bool, covered: bool) -> None:
        self.found, self.base, self.reported, self.covered = found, base, reported, covered
        self.absent: list[bytes] = []

    def compare_names(self) -> None:
        """Find what is absent."""
        present = {os.fsencode(name) for name in os.listdir(self.found.fd)}
        self.absent = [name for name in reversed(self.base.names()) if name not in present]


def changes(tree: Tree, opener: Opener) -> Iterator[Change]:
    """Every change of a tree, directories before what they hold; a directory that only holds changes is
    modified. Descriptors are valid until the next step.
    """
    levels = [_Level(tree.top, tree.base, reported=not tree.place, covered=False)]
    if tree.whole:
        levels[0].compare_names()
    try:
        for found in walk(tree.top, opener, lambda _: True):
            if found.path and not tree.stubs.intersection(_and_above(found.path, tree)):
                parent = found.path.rpartition(b"/")[0]
                while levels[-1].found.path != parent:
                    yield from _leave(levels, tree)
                yield from _absent(levels, tree, found.name)
                yield from _compare(levels, found, tree)
        while levels:
            yield from _leave(levels, tree)
    finally:
        for level in levels[1:]:
            level.base.close()


def _and_above(path: bytes, tree: Tree) -> Iterator[bytes]:
    """The path and those of the directories it is in, where anything is passed over at all."""
    while path and tree.stubs:
        yield path
        path = path.rpartition(b"/")[0]


def _leave(levels: list[_Level], tree: Tree) -> Iterator[Change]:
    yield from _absent(levels, tree, None)
    levels.pop().base.close()


def _absent(levels: list[_Level], tree: Tree, before: bytes | None) -> Iterator[Change]:
    """Deletions in the innermost directory that come before a name."""
    level = levels[-1]
    while level.absent and (before is None or level.absent[-1] < before):
        yield from _reported(levels)
        name, directory = level.absent.pop(), level.found.path
        path = b"%b/%b" % (directory, name) if directory else name
        yield Change(DELETED, path, None, implied=not tree.whole)


def _compare(levels: list[_Level], found: Found, tree: Tree) -> Iterator[Change]:
    """The changes that one name makes; a directory becomes the next level."""
    seen = levels[-1].base.look(found.name)
    inside = seen.inside if seen else Base()
    if stat.S_ISDIR(found.status.st_mode):
        yield from _compare_directory(levels, found, seen, tree)
        return
    inside.close()
    if not tree.whole and is_whiteout(found.status):
        change = Change(DELETED, found.path, found) if seen else None
    elif seen and tree.whole and found.path not in tree.touched and _same_file(found, seen.status):
        change = None
    else:
        change = Change(MODIFIED if seen else ADDED, found.path, found)
    if change:
        yield from _reported(levels)
        yield change


def _compare_directory(levels: list[_Level], found: Found, seen: Seen | None, tree: Tree) -> Iterator[Change]:
    inside = seen.inside if seen else Base()
    merges = seen is not None and stat.S_ISDIR(seen.status.st_mode)
    opaque = merges and not tree.whole and is_opaque(found.fd)
    level = _Level(found, inside, reported=False, covered=levels[-1].covered or opaque)
    if tree.whole or level.covered:
        level.compare_names()
    same = seen is not None and merges and _same_directory(found, inside, seen.status)
    # What it lost is told when its last name has been looked at, and its descriptor is closed then.
    if not same or level.covered or level.absent:
        yield from _reported(levels)
        level.reported = True
        marked = opaque and not levels[-1].covered
        yield Change(MODIFIED if seen else ADDED, found.path, found, opaque=marked)
    levels.append(level)


def _reported(levels: list[_Level]) -> Iterator[Change]:
    for level in levels:
        if not level.reported:
            level.reported = True
            yield Change(MODIFIED, level.found.path, level.found)


def _same_directory(found: Found, base: Base, before: os.stat_result) -> bool:
    """Times and sizes of directories say nothing: entries that come and go change them."""
    now = found.status
    same = (now.st_mode, now.st_uid, now.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    return same and (base.fd < 0 or xattrs_of(found.fd) == xattrs_of(base.fd))


def _same_file(found: Found, before: os.stat_result) -> bool:
    """By what stat(2) says: a copy keeps the time of its original."""
    return _facts(found.status) == _facts(before)


def _facts(status: os.stat_result) -> tuple[int, ...]:
    numbers = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev)
    return (*numbers, status.st_size, status.st_mtime_ns)


# -- as a layer --------------------------------------------------------------------------------------------


def pack_layer(trees: list[Tree], out_fd: int, opener: Opener, latest_ns: int = -1) -> dict[str, int]:
    """Write the changes of trees as an image layer, with no time after ``latest_ns`` unless that is
    negative. Raises InvalidArgument for a name that would mean something else in a layer.
    """

    def earlier(entry: tar.Entry) -> tar.Entry:
        return entry._replace(mtime_ns=min(entry.mtime_ns, latest_ns))

    packer = Packer(out_fd, earlier if latest_ns >= 0 else None)
    path = b""
    try:
        for tree in trees:
            for change in changes(tree, opener):
                path = _within(tree, change.path)
                _add(packer, change, path)
        return packer.finish()
    except OSError as error:
        raise KernelError("pack", error.errno or 0, f"/{names.show(path)}") from None


def _add(packer: Packer, change: Change, name: bytes) -> None:
    if change.implied:
        return
    if names.is_marked(name):
        raise InvalidArgument(
            f"/{names.show(name)} has a name that means a deletion in an image layer: rename or remove it"
        )
    if change.kind == DELETED:
        directory, _, last = name.rpartition(b"/")
        packer.put(_mark(directory, names.WHITEOUT + last, change.found))
    elif change.found:
        packer.add(change.found, name)
        if change.opaque:
            packer.put(_mark(name, names.OPAQUE, change.found))


def _mark(directory: bytes, name: bytes, found: Found | None) -> tar.Entry:
    path = b"%b/%b" % (directory, name) if directory else name
    mtime_ns = found.status.st_mtime_ns // 1_000_000_000 * 1_000_000_000 if found else 0
    return tar.Entry(path, tar.FILE, 0, 0, 0, 0, mtime_ns, b"", (0, 0), {})


def _within(tree: Tree, path: bytes) -> bytes:
    return b"/".join(part for part in (tree.place, path) if part)


# -- as a list ---------------------------------------------------------------------------------------------


def write_changes(trees: list[Tree], out_fd: int, opener: Opener) -> int:
    """Write the changes of trees as docker's JSON; how many there were."""
    count = 0
    try:
        with open(out_fd, "wb", closefd=False, buffering=1 << 18) as out:
            out.write(b"[")
            for tree in trees:
                for change in changes(tree, opener):
                    path = "/" + _within(tree, change.path).decode("utf-8", "replace")
                    out.write(b"," if count else b"")
                    out.write(json.dumps({"Path": path, "Kind": change.kind}).encode())
                    count += 1
            out.write(b"]\n")
    except OSError as error:
        raise KernelError("read", error.errno or 0) from None
    return count
