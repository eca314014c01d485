"""Walks the shown trees of the machine and lists what is hidden in them, quickly the second time.

A directory is read again when its times changed. Trees that administrators change by hand
(``host_rules.EXACT``) are read whole whenever inotify(7) reports anything there, so that a new or changed
secret is hidden from the next start on.

The whole is walked by a process of its own, which has a processor only while nobody else wants it: it takes
some ten megabytes that an engine would never get rid of again, and for as long as it goes on an engine would
share its interpreter's lock with it. It places the watches too, in the engine's inotify instance.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import onggi
from onggi.errors import KernelError, Unavailable
from onggi.kernel import process, syscalls
from onggi.kernel.files import write_atomic
from onggi.store import host_rules
from onggi.store.rootfs import Mask

_IN_CHANGES = (
    0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400
)  # modify attrib close_write moved create delete
_MAX_WATCHES = 8192
_CACHE_VERSION = 1
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from onggi.store.host_scan import main; main(*sys.argv[2:])"
)


class Directory(NamedTuple):
    """What one directory contributes; ``stamp`` is (device, inode, mtime ns, ctime ns)."""

    stamp: tuple[int, int, int, int]
    hidden: list[str]  # names of entries that are whited out
    children: list[str]  # names of directories


class _Walker(NamedTuple):
    """A process that walks, by its pid and when it started."""

    pid: int
    started: int

    def lower(self) -> None:
        """Let it have a processor only while nobody else wants it."""
        self._schedule(os.SCHED_IDLE)

    def raise_(self) -> None:
        """Let it have its share: somebody waits for it."""
        self._schedule(os.SCHED_OTHER)

    def kill(self) -> None:
        """End it; its masks are those that it has printed: none."""
        if process.alive(self.pid, self.started):
            with contextlib.suppress(ProcessLookupError):  # it ends just now
                os.kill(self.pid, signal.SIGKILL)

    def _schedule(self, policy: int) -> None:
        if process.alive(self.pid, self.started):
            with contextlib.suppress(OSError):  # it ends just now
                os.sched_setscheduler(self.pid, policy, os.sched_param(0))


class Scanner:
    """Keeps the masks of the shown trees. One thread at a time, but for ``hurry`` and ``close``."""

    def __init__(
        self, cache_path: str, shown: tuple[str, ...] = host_rules.SHOWN, watch_fd: int | None = None
    ) -> None:
        """``watch_fd`` is an inotify instance that somebody else reads."""
        self._cache_path, self._shown = cache_path, shown
        self._known: dict[str, Directory] = {}
        self._watch_fd = _inotify() if watch_fd is None else watch_fd
        self._watched: set[str] = set()
        self._walker: _Walker | None = None
        self._urgent = self._closed = False

    def close(self) -> None:
        """End a walk, whose masks nobody wants any more, and give the inotify descriptor back."""
        self._closed = True
        if self._walker:
            self._walker.kill()
        self._watch_no_more()

    @property
    def watches(self) -> bool:
        """Whether changes in watched trees are noticed."""
        return self._watch_fd >= 0

    def hurry(self) -> None:
        """Let no walk, of now or the next one, wait for other work. From any thread."""
        self._urgent = True
        if self._walker:
            self._walker.raise_()

    def whole(self) -> list[Mask]:
        """The masks of all shown trees. Raises Unavailable if it is closed meanwhile."""
        found = self._scan_elsewhere()
        if found is None and self._closed:
            raise Unavailable("the machine is not walked any more: the engine ends")
        if found is None:
            found = self.scan_and_save()
        self._known, self._urgent = {}, False
        return found

    def again(self, masks: Sequence[Mask]) -> list[Mask]:
        """All masks, of which those in watched trees are read again."""
        exact = host_rules.EXACT
        merged = {mask.path: mask for mask in masks if not host_rules.covers(exact, mask.path)}
        merged |= {path: Mask("whiteout", path) for path in host_rules.always_hidden()}
        watched = tuple(tree for tree in exact if host_rules.covers(self._shown, tree))
        merged |= {mask.path: mask for mask in (self.scan(watched) if watched else ())}
        self._known = {}
        return sorted(merged.values(), key=lambda mask: mask.path)

    def _scan_elsewhere(self) -> list[Mask] | None:
        """What a process of its own finds; None where it cannot be started, or was killed."""
        package = os.path.dirname(os.path.dirname(os.path.abspath(onggi.__file__)))
        fds = {3: self._watch_fd} if self._watch_fd >= 0 else {}
        wish = [self._cache_path, json.dumps(self._shown), str(max([-1, *fds]))]
        argv = [sys.executable, "-I", "-c", _PROGRAM, package, *wish]
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with open(reading, "rb") as answer:
            try:
                pid = process.spawn(argv, env={"LC_ALL": "C.UTF-8"}, fds={1: writing, **fds})
            except KernelError:
                return None
            finally:
                os.close(writing)
            self._follow(pid)
            text = answer.read()
        self._walker = None
        with contextlib.suppress(ChildProcessError):  # reaped by the engine
            os.waitpid(pid, 0)
        if not text:
            return None
        masks, watching = json.loads(text)
        if not watching:
            self._watch_no_more()
        return [Mask(*fields) for fields in masks]

    def _follow(self, pid: int) -> None:
        with contextlib.suppress(KernelError):  # it ended at once
            walker = self._walker = _Walker(pid, process.start_time(pid))
            walker.lower()
            # Behind the lowering: who hurries from here on finds a walker to be raised.
            if self._urgent:
                walker.raise_()
            if self._closed:
                walker.kill()

    def scan_and_save(self) -> list[Mask]:
        """The masks of all shown trees, with what an earlier engine found and for the next one."""
        self.load()
        found = self.scan()
        self.save()
        return found

    def load(self) -> None:
        """Take what an earlier engine found; the trees of ``EXACT`` are read again all the same."""
        try:
            with open(self._cache_path, encoding="utf-8") as file:
                version, rules, entries = json.load(file)
        except (OSError, ValueError):
            return  # absent or damaged: a scan makes a new one
        if version == _CACHE_VERSION and rules == _rules_stamp():
            self._known = {
                path: Directory(tuple(stamp), hidden, children) for path, stamp, hidden, children in entries
            }

    def save(self) -> None:
        """Leave what was found for the next engine."""
        entries = [(path, *entry) for path, entry in self._known.items()]
        write_atomic(
            self._cache_path, json.dumps([_CACHE_VERSION, _rules_stamp(), entries]).encode(), durable=False
        )

    def dirty(self) -> bool:
        """Whether anything changed in the watched directories since the last call; True where that cannot
        be known.
        """
        if self._watch_fd < 0:
            return True
        changed = False
        try:
            while os.read(self._watch_fd, 65536):
                changed = True
        except BlockingIOError:
            return changed
        except OSError:
            return True
        return changed

    def scan(self, only: tuple[str, ...] = ()) -> list[Mask]:
        """The masks of all shown trees (or of those in ``only``), parents first."""
        masks: dict[str, Mask] = (
            {path: Mask("whiteout", path) for path in host_rules.always_hidden()} if not only else {}
        )
        for tree in only or self._shown:
            if only or not any(host_rules.covers((other,), tree) for other in self._shown if other != tree):
                masks |= {mask.path: mask for mask in self._tree(tree)}
        return sorted(masks.values(), key=lambda mask: mask.path)

    def beside(self, shown: tuple[str, ...]) -> list[Mask]:
        """The masks of everything outside ``shown``, from ``/`` down to where shown trees begin."""
        return list(self._beside("/", shown))

    def _beside(self, directory: str, shown: tuple[str, ...]) -> Iterator[Mask]:
        self._watch(directory)
        for entry in _entries(directory):
            if host_rules.covers(shown, entry.path):
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) and host_rules.leads_to(entry.path, shown):
                yield from self._beside(entry.path, shown)
            elif kind := host_rules.outside(entry.path, mode):
                yield Mask(kind, entry.path)

    def _tree(self, root: str) -> Iterator[Mask]:
        pending = [root]
        while pending:
            path = pending.pop()
            try:
                status = os.lstat(path)
            except OSError:
                self._known.pop(path, None)
                continue
            if not stat.S_ISDIR(status.st_mode):
                continue
            if kind := host_rules.directory(path, status.st_mode):
                yield Mask(kind, path)
                continue
            known = self._read(path, status)
            yield from (Mask("whiteout", f"{path}/{name}") for name in known.hidden)
            pending += [f"{path}/{name}" for name in known.children]

    def _read(self, path: str, status: os.stat_result) -> Directory:
        stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        exact = host_rules.covers(host_rules.EXACT, path)
        known = self._known.get(path)
        if known is not None and known.stamp == stamp and not exact:
            return known
        if exact:
            self._watch(path)  # before reading: what changes from here on is reported
        hidden, children = [], []
        for entry in _entries(path):
            try:
                if entry.is_dir(follow_symlinks=False):
                    children.append(entry.name)
                elif _hides(entry):
                    hidden.append(entry.name)
            except OSError:
                hidden.append(
                    entry.name
                )  # gone or unreadable even for us: what cannot be judged is not shown
        self._known[path] = Directory(stamp, hidden, children)
        return self._known[path]

    def _watch(self, path: str) -> None:
        if self._watch_fd < 0 or path in self._watched:
            return
        try:
            if len(self._watched) >= _MAX_WATCHES:
                raise KernelError("inotify_add_watch", errno.ENOSPC, path)
            syscalls.inotify_add_watch(self._watch_fd, path, _IN_CHANGES)
            self._watched.add(path)
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._watch_no_more()

    def _watch_no_more(self) -> None:
        """Without watches everything counts as changed."""
        if self._watch_fd >= 0:
            os.close(self._watch_fd)
            self._watch_fd = -1


def _hides(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink():
        return False
    status = entry.stat(follow_symlinks=False)
    if host_rules.file(entry.path, status.st_mode):
        return True
    return host_rules.asks_for_content(entry.path, status.st_size) and _holds_secret(entry.path)


def _holds_secret(path: str) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        return host_rules.is_secret(os.read(fd, host_rules.CONTENT_LIMIT))
    finally:
        os.close(fd)


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []  # removed meanwhile


def _inotify() -> int:
    try:
        return syscalls.inotify_init()
    except KernelError:
        return -1  # `dirty` then always says yes


def _rules_stamp() -> int:
    """Changes when the rules' source does, so that a cache of older rules is not believed."""
    try:
        return os.stat(host_rules.__file__).st_mtime_ns
    except OSError:
        return 0


def main(cache_path: str, shown: str, watch_fd: str) -> None:
    """Scan once and print the masks, and whether all is watched: the entry of a process that ends with its
    engine.
    """
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    scanner = Scanner(cache_path, tuple(json.loads(shown)), int(watch_fd))
    masks = [(mask.kind, mask.path) for mask in scanner.scan_and_save()]
    sys.stdout.write(json.dumps([masks, scanner.watches]))
