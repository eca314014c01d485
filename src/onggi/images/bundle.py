"""Where the parts of an image archive come from: a tar that streams by, or a directory.

Small members are documents and stay in memory, within limits; everything else is taken in as a layer as soon
as it comes, since a stream cannot be read again. Links between members are followed by name only.
"""

from __future__ import annotations

import asyncio
import os
import queue
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from errno import ENOENT
from functools import partial
from typing import Protocol

from onggi.archive import tar
from onggi.errors import InvalidArgument, KernelError, NotFound
from onggi.images.decompress import Decompressor, is_compressed
from onggi.images.layering import Arrival
from onggi.images.layout import clean
from onggi.images.progress import Progress, Transfer
from onggi.images.streams import Chunks, batched, of_file
from onggi.images.tools import Tools
from onggi.kernel import paths
from onggi.store import opening
from onggi.store.content import Lease

_MAX_DOCUMENT, _MAX_DOCUMENTS = 8 << 20, 64 << 20
_MAX_MEMBERS = 100_000
_MAX_LINKS = 8
_AHEAD = 4  # pieces of about a mebibyte that wait


class Bundle(Protocol):
    """The parts of an archive by name."""

    def document(self, name: str) -> bytes:
        """The bytes of a small member; raises NotFound."""
        ...

    async def layer(self, name: str) -> Arrival | None:
        """A member as a layer, or None if it is not there (or was here already)."""
        ...


class _Plain:
    """The plain archive between who decompresses it and who reads it, each in a thread."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[bytes] = queue.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._over = False

    def put(self, pieces: Iterator[bytes]) -> None:
        """Pass on what is not empty; blocks while too much waits. Nobody may want it any more."""
        for piece in filter(None, pieces):
            if not self._over:
                self._room.acquire()
            if self._over:  # perhaps only since a moment ago, which gave the room
                return
            self._pieces.put(piece)

    def end(self) -> None:
        """Nothing follows."""
        self._pieces.put(b"")

    def abandon(self) -> None:
        """Let go of both threads: nothing more is wanted."""
        self._over = True
        self._room.release()
        self.end()

    def pieces(self) -> Iterator[bytes]:
        """What was put, to its end."""
        while piece := self._pieces.get():
            self._room.release()
            yield piece


class TarBundle:
    """A tar archive, compressed or not, read from beginning to end by ``read``."""

    def __init__(self, tools: Tools, lease: Lease, progress: Progress) -> None:
        self._intake, self._workers = tools.intake, tools.workers
        self._lease, self._progress = lease, progress
        self._documents: dict[str, bytes] = {}
        self._layers: dict[str, Arrival] = {}
        self._links: dict[str, str] = {}
        self._size = 0

    def document(self, name: str) -> bytes:
        """See ``Bundle``."""
        found = self._documents.get(self._followed(name))
        if found is None:
            raise NotFound(f"invalid archive: no {name} in it")
        return found

    async def layer(self, name: str) -> Arrival | None:
        """See ``Bundle``."""
        return self._layers.get(self._followed(name))

    def has(self, name: str) -> bool:
        """Whether there is a document of this name."""
        return self._followed(name) in self._documents

    async def read(self, chunks: Chunks, stack: AsyncExitStack) -> None:
        """Take everything in; what becomes of no image is removed when the stack is closed."""
        plain = _Plain()
        pump = asyncio.ensure_future(self._pump(chunks, plain))
        reader = tar.Reader(plain.pieces())
        try:
            for _ in range(_MAX_MEMBERS):
                entry = await self._workers.run(reader.next, plain.abandon)
                if entry is None:
                    break
                await self._take(entry, reader, stack)
            else:
                raise InvalidArgument(f"archive has more than {_MAX_MEMBERS} members")
            await self._workers.run(reader.drain, plain.abandon)
            await pump
        except BaseException:
            pump.cancel()
            raise
        finally:
            plain.abandon()
            await asyncio.gather(pump, return_exceptions=True)

    async def _pump(self, chunks: Chunks, plain: _Plain) -> None:
        """Pass the plain archive on."""
        decompressor = Decompressor()
        try:
            async for raw in batched(chunks):
                pieces = decompressor.feed(raw)
                await self._workers.run(lambda pieces=pieces: plain.put(pieces))  # type: ignore[misc]
            await self._workers.run(lambda: plain.put(decompressor.finish()))
        finally:
            plain.end()

    async def _take(self, entry: tar.Entry, reader: tar.Reader, stack: AsyncExitStack) -> None:
        name = clean(entry.name.decode("utf-8", "replace"))
        if entry.kind in (tar.SYMLINK, tar.HARDLINK):
            self._link(name, entry)
        if entry.kind != tar.FILE or not entry.size:
            return
        first = await self._workers.run(lambda: bytes(reader.read()))
        if first.lstrip()[:1] in (b"{", b"[") and entry.size <= _MAX_DOCUMENT:
            self._keep(name, await self._workers.run(lambda: first + b"".join(_rest(reader))))
        elif _is_layer(name, first):
            await self._take_layer(name, first, reader, entry, stack)

    def _link(self, name: str, entry: tar.Entry) -> None:
        target = entry.link.decode("utf-8", "replace")
        if entry.kind == tar.SYMLINK and not target.startswith("/"):
            target = f"{os.path.dirname(name)}/{target}"
        self._links[name] = clean(target)

    def _followed(self, name: str) -> str:
        for _ in range(_MAX_LINKS):
            if name not in self._links:
                return name
            name = self._links[name]
        raise InvalidArgument(f"invalid archive: too many links at {name}")

    def _keep(self, name: str, data: bytes) -> None:
        self._size += len(data)
        if self._size > _MAX_DOCUMENTS:
            raise InvalidArgument(f"archive has more than {_MAX_DOCUMENTS} bytes of documents")
        self._documents[name] = data

    async def _take_layer(
        self, name: str, first: bytes, reader: tar.Reader, entry: tar.Entry, stack: AsyncExitStack
    ) -> None:
        transfer = Transfer(entry.size)
        shown = _short(name)
        self._progress.move("Loading layer", shown, transfer)
        chunks = self._counted(first, reader, transfer)
        arrives = self._intake.from_stream(self._lease, chunks, durable=False)
        arrival = await stack.enter_async_context(arrives)
        self._progress.say("Loading layer", shown)
        self._layers[name] = arrival

    async def _counted(self, first: bytes, reader: tar.Reader, transfer: Transfer) -> AsyncIterator[bytes]:
        piece = first
        while piece:
            transfer.current += len(piece)
            yield piece
            piece = await self._workers.run(lambda: bytes(reader.read(transfer.total)))


class DirectoryBundle:
    """An OCI layout on disk, open as long as the stack is."""

    def __init__(self, path: str, tools: Tools, lease: Lease, stack: AsyncExitStack) -> None:
        """Raises NotFound or KernelError if there is no such directory."""
        self._intake, self._lease, self._stack = tools.intake, lease, stack
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"no such directory: {path}") from None
        except OSError as error:
            raise KernelError("open", error.errno or 0, path) from None
        stack.callback(os.close, self._fd)

    def document(self, name: str) -> bytes:
        """See ``Bundle``."""
        fd = self.open(name)
        with os.fdopen(fd, "rb") as file:
            data = file.read(_MAX_DOCUMENT + 1)
        if len(data) > _MAX_DOCUMENT:
            raise InvalidArgument(f"{name} is larger than {_MAX_DOCUMENT} bytes")
        return data

    async def layer(self, name: str) -> Arrival | None:
        """See ``Bundle``."""
        async with opening.descriptor(partial(self.open, name)) as fd:
            arrives = self._intake.from_stream(self._lease, of_file(fd), durable=False)
            return await self._stack.enter_async_context(arrives)

    def open(self, name: str) -> int:
        """A regular file below the directory; the last name is not followed, and nothing blocks (rule R7)."""
        try:
            fd = paths.open_in(self._fd, clean(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except KernelError as error:
            if error.errno != ENOENT:
                raise
            raise NotFound(f"invalid OCI layout: no {name} in it") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise InvalidArgument(f"invalid OCI layout: {name} is no regular file")
        return fd


def _rest(reader: tar.Reader) -> Iterator[bytes]:
    while piece := reader.read():
        yield bytes(piece)


def _is_layer(name: str, head: bytes) -> bool:
    """Whether a member is worth unpacking; archives may hold other files, which nobody asks for."""
    is_tar = head[257:262] == b"ustar" or not head[: tar.BLOCK].strip(b"\0")
    return is_tar or is_compressed(head) or name.endswith("layer.tar") or name.startswith("blobs/")


def _short(name: str) -> str:
    """What docker shows of a layer: twelve digits of its digest, or of its directory."""
    directory, _, last = name.rpartition("/")
    return (last if len(last) == 64 else directory.rpartition("/")[2] or last)[:12]
