"""What differs between two layers: paths, and in which respect."""

from __future__ import annotations

# hashlib would load OpenSSL into the launcher and every monitor: 4 MB.
from _blake2 import blake2b
from typing import Any, NamedTuple

from onggi.archive.names import show
from onggi.archive.tar import FILE, HARDLINK, SYMLINK, Entry, Reader

Json = Any
MAX_MEMBERS = 1_000_000


class _Member(NamedTuple):
    entry: Entry
    digest: bytes


def compare(before_fd: int, now_fd: int, limit: int, *, times: bool = True) -> Json:
    """The differences of two plain tars, as ``[path, [words]]``: the first ``limit``, and how many there are.

    A path has the words ``added`` or ``removed``, or some of ``kind``, ``content``, ``link``, ``mode``,
    ``owner``, ``time`` (unless ``times`` are nothing), ``attributes``.
    """
    before, now = _members(before_fd), _members(now_fd)
    found = []
    for path in sorted(before.keys() | now.keys()):
        words = [it for it in _words(before.get(path), now.get(path)) if times or it != "time"]
        if words:
            found.append((path, words))
    return {"found": [[show(path), words] for path, words in found[:limit]], "count": len(found)}


def _members(fd: int) -> dict[bytes, _Member]:
    reader, found = Reader(fd), dict[bytes, _Member]()
    while (entry := reader.next()) is not None and len(found) < MAX_MEMBERS:
        digest = blake2b()
        while entry.kind == FILE and (piece := reader.read()):
            digest.update(piece)
        found[entry.name.rstrip(b"/")] = _Member(entry, digest.digest())
    return found


def _words(before: _Member | None, now: _Member | None) -> list[str]:
    if before is None:
        return ["added"]
    if now is None:
        return ["removed"]
    (was, had), (entry, has) = before, now
    if was.kind != entry.kind:
        return ["kind"]
    linked = entry.kind in (HARDLINK, SYMLINK) and was.link != entry.link
    differs = {
        "content": (was.size, had, was.stretches, was.device)
        != (entry.size, has, entry.stretches, entry.device),
        "link": linked,
        "mode": was.mode != entry.mode,
        "owner": (was.uid, was.gid) != (entry.uid, entry.gid),
        "time": was.mtime_ns != entry.mtime_ns,
        "attributes": was.xattrs != entry.xattrs,
    }
    return [word for word, it_does in differs.items() if it_does]
