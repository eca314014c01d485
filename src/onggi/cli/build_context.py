"""What a build is made from: a directory without what its ignore file names, an archive, a Dockerfile alone.

The context goes as a tar, packed while it is sent. Owners are left behind, as docker's command does. A
Dockerfile that is not part of the context travels in it under a name of its own, which is told as hidden.
"""

from __future__ import annotations

import os
import stat

from onggi.archive.ignore import MAX_BYTES, Ignored, directories_above, read
from onggi.archive.pack import Packer, entry_of
from onggi.archive.tar import FILE, Entry
from onggi.archive.walk import Opener, walk
from onggi.cli.command import Failure
from onggi.cli.pack import capable, piped
from onggi.client.errors import reason
from onggi.errors import OnggiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO

    from onggi.archive.ignore import Above
    from onggi.archive.walk import Found
    from onggi.cli.build_ssh import Agents
    from onggi.cli.build_sync import Sync

MAX_DOCKERFILE = 4 << 20
_PIECE = 1 << 18
_HEAD = 512
# How archives begin: gzip, bzip2, xz, zstd; a plain tar has its word later.
_MAGIC = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
_TAR_WORD, _TAR_AT = b"ustar", 257
_GIT = ("git://", "git@", "ssh://", "github.com/")


class Context:
    """What is sent: ``pack`` gives it (None if the engine fetches ``remote``), with the Dockerfile's name in
    it, and the names in it that are not part of the context. ``sync`` knows what the engine has already;
    ``root`` is the directory, "" for what is none.
    """

    __slots__ = ("agents", "dockerfile", "hidden", "pack", "remote", "root", "sync")

    def __init__(
        self,
        pack: Callable[[], Iterator[bytes]] | None,
        dockerfile: str,
        hidden: tuple[str, ...] = (),
        remote: str = "",
        sync: Sync | None = None,
        root: str = "",
    ) -> None:
        self.pack, self.dockerfile, self.hidden, self.remote, self.sync, self.root = (
            pack, dockerfile, hidden, remote, sync, root,
        )  # fmt: skip
        self.agents: Agents | None = None  # that come along


def choose(
    source: str,
    dockerfile: str,
    compare: Callable[[str, Ignored], Sync | None] | None = None,
    *,
    only_dockerfile: bool = False,
) -> Context:
    """The context that the argument of ``build`` means. Raises Failure in docker's words.

    ``compare`` finds what of a directory the engine has. ``only_dockerfile`` leaves out all but that and the
    ignore file: what a check reads.
    """
    if source == "-":
        if dockerfile == "-":
            raise Failure("invalid argument: can't use stdin for both build context and dockerfile")
        return _from_stdin(dockerfile)
    if source.startswith(("http://", "https://", *_GIT)) and not os.path.isdir(source):
        if dockerfile == "-":
            raise Failure("ambiguous Dockerfile source: both stdin and a remote context were given")
        return Context(None, dockerfile or "Dockerfile", remote=source)
    return _from_directory(source, dockerfile, None if only_dockerfile else compare, only_dockerfile)


# -- standard input ------------------------------------------------------------------------------------------


def _from_stdin(dockerfile: str) -> Context:
    """An archive, or the text of a Dockerfile that needs no context."""
    if os.isatty(0):
        raise Failure("stdin is a terminal: a context or a Dockerfile is read from a pipe or a file")
    with open(0, "rb", closefd=False) as stream:
        head = stream.read(_HEAD)
        if head.startswith(_MAGIC) or head[_TAR_AT:].startswith(_TAR_WORD):
            return Context(lambda: _rest(head), dockerfile or "Dockerfile")
        if dockerfile:
            raise Failure("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
        text = head + _read_all(stream)
    return Context(lambda: piped(lambda fd: _alone(fd, text)), "Dockerfile", ("Dockerfile",))


def _rest(head: bytes) -> Iterator[bytes]:
    yield head
    while piece := os.read(0, _PIECE):
        yield piece


def _read_all(stream: IO[bytes]) -> bytes:
    data = stream.read(MAX_DOCKERFILE + 1)
    if len(data) > MAX_DOCKERFILE:
        raise Failure(f"dockerfile is larger than max allowed size of {MAX_DOCKERFILE}")
    return data


def _alone(out_fd: int, text: bytes) -> None:
    packer = Packer(out_fd)
    _document(packer, "Dockerfile", text)
    packer.finish()


def _document(packer: Packer, name: str, text: bytes) -> None:
    """A member with these bytes."""
    fd = os.memfd_create("document")
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(text)
        os.lseek(fd, 0, os.SEEK_SET)
        packer.put(Entry(os.fsencode(name), FILE, len(text), 0o644, 0, 0, 0, b"", (0, 0), {}), fd)
    finally:
        os.close(fd)


# -- a directory ---------------------------------------------------------------------------------------------


def _from_directory(
    source: str, dockerfile: str, compare: Callable[[str, Ignored], Sync | None] | None, only_dockerfile: bool
) -> Context:
    root = _directory(source)
    path = _dockerfile_path(root, dockerfile)
    text = _dockerfile_text(path)
    ignoring, rules = _ignore_text(root, path)
    ignored = _rules(ignoring, rules)
    inside = _below(root, os.path.realpath(path)) if path else ""
    alone = not inside or inside in ignored
    name, hidden = inside, tuple[str, ...]()
    if alone:
        from hashlib import sha256

        name = f".dockerfile.{sha256(text).hexdigest()[:20]}"
        hidden = (name,)

    sync = compare(root, ignored) if compare else None
    if sync and sync.removed() is None:
        sync.forget()

    def write(fd: int) -> None:
        packer = Packer(fd, _ownerless)
        if alone or only_dockerfile:
            _document(packer, name, text)
        if only_dockerfile:
            _document(packer, f"{name}.dockerignore", rules)
        elif sync and sync.generation:
            _changes(packer, root, sync)
        else:
            _Packing(packer, ignored, sync.now if sync else None).run(root)
        packer.finish()

    return Context(lambda: piped(write), name, hidden, sync=sync, root=root)


def packed(source: str) -> Iterator[bytes]:
    """A directory that is a context beside another: without what its ignore file names, and without times."""
    root = _directory(source)
    ignored = _rules(*_ignore_text(root, ""))

    def write(fd: int) -> None:
        packer = Packer(fd, lambda entry: _ownerless(entry)._replace(mtime_ns=0))
        _Packing(packer, ignored, None).run(root)
        packer.finish()

    return piped(write)


def _directory(source: str) -> str:
    root = os.path.realpath(source)
    try:
        status = os.stat(root)
    except OSError:
        raise Failure(f'unable to prepare context: path "{source}" not found') from None
    if not stat.S_ISDIR(status.st_mode):
        raise Failure(f"unable to prepare context: context must be a directory: {source}")
    return root


def _dockerfile_path(root: str, dockerfile: str) -> str:
    """Where the Dockerfile is, "" for standard input."""
    if dockerfile == "-":
        return ""
    if dockerfile:
        return os.path.abspath(dockerfile)
    path = os.path.join(root, "Dockerfile")
    lower = os.path.join(root, "dockerfile")
    return lower if not os.path.lexists(path) and os.path.lexists(lower) else path


def _dockerfile_text(path: str) -> bytes:
    try:
        with open(path or 0, "rb", closefd=bool(path)) as stream:
            return _read_all(stream)
    except OSError as error:
        raise Failure(
            f"unable to prepare context: unable to read Dockerfile {path}: {reason(error)}"
        ) from None


def _below(root: str, path: str) -> str:
    """A path relative to a directory, "" if it is not in it."""
    return path[len(root.rstrip("/")) + 1 :] if path.startswith(root.rstrip("/") + "/") else ""


def _ignore_text(root: str, dockerfile: str) -> tuple[str, bytes]:
    """The ignore file that counts: that beside the Dockerfile with its name, else that of the context."""
    own = f"{dockerfile}.dockerignore"
    if dockerfile and os.path.lexists(own):
        return own, _small(own)
    path = os.path.join(root, ".dockerignore")
    # What comes with a context may be a stranger's; a link of his must not lead to a file of ours.
    if os.path.lexists(path) and not _below(root, os.path.realpath(path)):
        raise Failure(f"unable to prepare context: {path} leads out of the context")
    return path, _small(path) if os.path.lexists(path) else b""


def _small(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Failure(f"error checking context: open {path}: {reason(error)}") from None


def _rules(path: str, text: bytes) -> Ignored:
    try:
        return Ignored(read(text))
    except OnggiError as error:
        raise Failure(f"error checking context: {path}: {error}") from None


def _changes(packer: Packer, root: str, sync: Sync) -> None:
    """What the engine does not have yet."""
    opener = Opener()
    for path in sorted(sync.changed):
        folder, _, name = path.rpartition("/")
        try:
            parent_fd = os.open(f"{root}/{folder}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            sync.now[path] = ""
            continue
        try:
            found = opener.open(parent_fd, os.fsencode(name), os.fsencode(path))
            if found is None or stat.S_ISSOCK(found.status.st_mode):
                sync.now[path] = ""  # gone meanwhile
                continue
            try:
                packer.add(found, found.path)
            finally:
                if found.fd >= 0:
                    os.close(found.fd)
        finally:
            os.close(parent_fd)


class _Packing:
    """One walk through a directory; ``only`` what was there when it was compared."""

    def __init__(self, packer: Packer, ignored: Ignored, only: Mapping[str, str] | None) -> None:
        self._packer, self._ignored, self._only = packer, ignored, only
        self._above: dict[str, Above] = {}
        self._waiting: dict[str, Entry] = {}  # ignored directories, of which something may yet be kept

    def run(self, root: str) -> None:
        opener = Opener()
        handle = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for found in walk(opener.reopen(handle), opener, self._enter):
                if found.path:
                    self._meet(found, os.fsdecode(found.path))
        finally:
            os.close(handle)

    def _enter(self, found: Found) -> bool:
        path = os.fsdecode(found.path)
        if path and self._is_ignored(path) and not self._ignored.may_keep_in(path):
            return False
        self._above[path] = self._ignored.inside(path, self._above.get(path.rpartition("/")[0], ()))
        return True

    def _is_ignored(self, path: str) -> bool:
        return self._ignored.ignores(path, self._above[path.rpartition("/")[0]])

    def _meet(self, found: Found, path: str) -> None:
        mode = found.status.st_mode
        if stat.S_ISSOCK(mode) or (self._only is not None and path not in self._only):
            return
        if self._is_ignored(path):
            if stat.S_ISDIR(mode) and (entry := entry_of(found, found.path)):
                self._waiting[path] = entry
            return
        if self._waiting:
            self._directories_of(path)
        self._packer.add(found, found.path)

    def _directories_of(self, path: str) -> None:
        """The directories above something that is kept are kept too."""
        for directory in directories_above(path):
            if entry := self._waiting.pop(directory, None):
                self._packer.put(entry)


def _ownerless(entry: Entry) -> Entry:
    return capable(entry)._replace(uid=0, gid=0)


def compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same through gzip."""
    from zlib import compressobj

    packer = compressobj(wbits=31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()
