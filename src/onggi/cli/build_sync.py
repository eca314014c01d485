"""What of a context the engine has already: a list of what was sent, kept in the person's cache directory.

Only our engine is told of it, and says when it has kept a context; changes go to an address that no other
engine has. A file is known by its inode, size, mode and times. One that changed in the last moments is not
noted, because it may change again without a trace (the clock of a file system is coarse).
"""

from __future__ import annotations

import os
import stat
from time import time_ns

from onggi.archive.ignore import directories_above
from onggi.client.config import replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onggi.archive.ignore import Above, Ignored
    from onggi.client.codec import Json

LEAST = 256  # entries: what is smaller is sent faster than compared
MAX_REMOVED = 256
_FRESH_NS = 2_000_000_000


class Sync:
    """One context: what it consists of now, and what the engine had of it."""

    def __init__(self, path: str, key: str, now: dict[str, str]) -> None:
        self._path, self.key, self.now = path, key, now
        self.generation, self.before = _read(path)
        self.next = os.urandom(16).hex()

    @property
    def changed(self) -> set[str]:
        """Paths that are to be sent."""
        return {path for path, mark in self.now.items() if not mark or self.before.get(path) != mark}

    def removed(self) -> list[str] | None:
        """Paths that are gone, of a directory only itself; None if there are too many to tell."""
        gone = sorted(path for path in self.before if path not in self.now)
        told: list[str] = []
        for path in gone:
            if not told or not path.startswith(f"{told[-1]}/"):
                told.append(path)
        return told if len(told) <= MAX_REMOVED else None

    def forget(self) -> None:
        """The engine does not have it: everything is to be sent."""
        self.generation, self.before = "", {}

    def header(self) -> Json:
        """What the engine is told."""
        touched = sorted({path.partition("/")[0] for path in self.changed})[:MAX_REMOVED]
        told = {
            "Id": self.key,
            "Next": self.next,
            "Previous": self.generation,
            "Removed": self.removed(),
            "Touched": touched,
        }
        return {name: value for name, value in told.items() if value}

    def keep(self) -> None:
        """Note that the engine has what there is now; a note that cannot be written is none."""
        noted = [self.next, *(part for pair in self.now.items() for part in pair)]
        try:
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            replace_file(self._path, "\0".join(noted).encode())
        except OSError:
            return


def sync_of(root: str, ignored: Ignored, host: str, env: Mapping[str, str]) -> Sync | None:
    """Compare a directory with what was sent of it; None where everything is better sent: a small context,
    one with hard links or special files, or no place for notes.
    """
    home = env.get("XDG_CACHE_HOME") or (f"{env['HOME']}/.cache" if env.get("HOME") else "")
    now = _list(root, ignored) if home.startswith("/") else None
    if now is None or len(now) < LEAST:
        return None
    from hashlib import sha256

    key = sha256(f"{host}\0{root}\0{os.uname().nodename}\0{os.getuid()}".encode()).hexdigest()
    return Sync(f"{home}/onggi/contexts/{key}", key, now)


def _read(path: str) -> tuple[str, dict[str, str]]:
    try:
        with open(path, "rb") as file:
            generation, *rest = file.read().decode().split("\0")
    except (OSError, UnicodeDecodeError):
        return "", {}
    return generation, dict(zip(rest[::2], rest[1::2], strict=False))


def _list(root: str, ignored: Ignored) -> dict[str, str] | None:
    """Paths and marks of what is not ignored; None if there is what cannot be sent in parts."""
    found: dict[str, str] = {}
    waiting: dict[str, str] = {}  # ignored directories, of which something may yet be kept
    fresh = time_ns() - _FRESH_NS
    try:
        for path, mark, left_out in _walk(root, "", ignored, ignored.inside(""), fresh):
            if left_out:
                waiting[path] = mark
                continue
            if waiting:
                for directory in directories_above(path):
                    if above := waiting.pop(directory, None):
                        found[directory] = above
            found[path] = mark
    except (_Unfit, OSError, UnicodeEncodeError):
        return None
    return found


class _Unfit(Exception):
    """Something that is only sent with all the rest."""


def _walk(
    root: str, below: str, ignored: Ignored, above: Above, fresh: int
) -> Iterator[tuple[str, str, bool]]:
    """Path, mark, and whether it is an ignored directory, of everything in a directory, sorted."""
    with os.scandir(f"{root}/{below}" if below else root) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        path = f"{below}/{entry.name}" if below else entry.name
        directory = entry.is_dir(follow_symlinks=False)
        left_out = ignored.ignores(path, above)
        if left_out and not (directory and ignored.may_keep_in(path)):
            continue
        path.encode()
        yield path, _mark(entry, fresh), left_out
        if directory:
            yield from _walk(root, path, ignored, ignored.inside(path, above), fresh)


def _mark(entry: os.DirEntry[str], fresh: int) -> str:
    status = entry.stat(follow_symlinks=False)
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        return f"{mode:o}"
    if status.st_nlink > 1 or not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise _Unfit
    if max(status.st_ctime_ns, status.st_mtime_ns) > fresh:
        return ""
    return f"{mode:o} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
