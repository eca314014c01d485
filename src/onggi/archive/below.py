"""The tree that a new layer will lie on: what it has by a path, and where links in it lead."""

from __future__ import annotations

import os
import stat

from onggi.archive.base import Base, Seen
from onggi.errors import InvalidArgument

_MAX_LINKS = 40


class Below:
    """Answers for one place after the other; directories on the way to the last one stay open."""

    def __init__(self, base: Base) -> None:
        self._trail: list[tuple[bytes, Base]] = [(b"", base)]

    def directory(self, path: bytes) -> Base:
        """What the tree has in a directory (of a path without links); empty if it has none."""
        while self._trail[-1][0] and not (path + b"/").startswith(self._trail[-1][0] + b"/"):
            self._trail.pop()[1].close()
        known, base = self._trail[-1]
        for name in filter(None, path[len(known) :].split(b"/")):
            seen = base.look(name)
            base = seen.inside if seen else Base()
            known = b"%b/%b" % (known, name) if known else name
            self._trail.append((known, base))
        return base

    def look(self, path: bytes) -> os.stat_result | None:
        """What has the path, whose directory is one without links; None if nothing has."""
        parent, _, name = path.rpartition(b"/")
        seen = self._seen(parent, name)
        return seen.status if seen else None

    def real(self, path: bytes) -> bytes:
        """The path without links, ``.`` and ``..``; from the first name that is absent on, as it is."""
        done: list[bytes] = []
        names, links = _names(path), 0
        while names:
            name = names.pop(0)
            if name == b"..":
                done = done[:-1]
                continue
            parent = b"/".join(done)
            seen = self._seen(parent, name)
            if seen is None or not stat.S_ISLNK(seen.status.st_mode):
                done.append(name)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise InvalidArgument(f"/{os.fsdecode(path)}: too many levels of symbolic links")
            target = self.directory(parent).link(name)
            done = [] if target.startswith(b"/") else done
            names = _names(target) + names
        return b"/".join(done)

    def close(self) -> None:
        """Give all descriptors back."""
        while self._trail:
            self._trail.pop()[1].close()

    def _seen(self, parent: bytes, name: bytes) -> Seen | None:
        seen = self.directory(parent).look(name)
        if seen:
            seen.inside.close()
        return seen


def _names(path: bytes) -> list[bytes]:
    return [name for name in path.split(b"/") if name not in (b"", b".")]
