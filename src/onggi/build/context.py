"""The files of a client, in a directory of their own below the data root, gone with the build.

<data-root>/build/<id>/context/     what was sent, unpacked by a confined job
<data-root>/build/<id>/...          documents and layers on their way
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

import msgspec

from onggi.archive import trees
from onggi.archive.extract import Limits
from onggi.build.state import State
from onggi.build.workshop import Workshop
from onggi.containers import pipes
from onggi.errors import InvalidArgument, KernelError, OnggiError
from onggi.images.decompress import Decompressor
from onggi.images.streams import Chunks, of_file
from onggi.kernel import files, paths
from onggi.store import space
from onggi.store.layout import make_private

_MAX_DOCKERFILE = 16 << 20


class Place(msgspec.Struct, frozen=True):
    """The directory of one build, and of its secrets; ``kept`` is that of a context that outlives it, ``ssh``
    one with the socket ``agent`` and the file ``known_hosts``. ``content`` is a name of what is in the
    context, as long as that is the same; ``touched`` are the names in it below which something was sent just
    now, as the client says: a hint.
    """

    path: str
    secrets: str
    kept: str = ""
    ssh: str = ""
    content: str = ""
    touched: frozenset[str] = frozenset()

    @property
    def context(self) -> str:
        """Where the client's files are."""
        return f"{self.kept}/tree" if self.kept else f"{self.path}/context"

    def is_new(self, sources: Sequence[str]) -> bool:
        """Whether sources are in all likelihood other than they ever were."""
        tops = {source.lstrip("./").partition("/")[0] for source in sources}
        return any(top in self.touched or (self.touched and (not top or "*" in top)) for top in tops)

    def opened(self) -> AbstractContextManager[int]:
        """The context's descriptor, closed at the end."""
        return files.directory(self.context)

    @contextmanager
    def scratch(self) -> Iterator[int]:
        """A file without a name, gone at the end."""
        fd = os.open(self.path, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        try:
            yield fd
        finally:
            os.close(fd)

    def write(self, content: bytes, mode: int) -> str:
        """The path of a new file."""
        path = f"{self.path}/{uuid.uuid4().hex}"
        files.write_new(path, content, mode)
        return path

    def directory(self, mode: int = 0o700) -> str:
        """The path of a new directory."""
        path = f"{self.path}/{uuid.uuid4().hex}"
        os.mkdir(path, mode)
        return path

    def read(self, path: str) -> bytes | None:
        """A small file of the context, links resolved in it; None if it is not there."""
        with self.opened() as fd:
            return paths.read_file_in(fd, path, _MAX_DOCKERFILE)


@asynccontextmanager
async def place(workshop: Workshop) -> AsyncIterator[Place]:
    """A new directory for a build."""
    name = uuid.uuid4().hex
    found = Place(f"{workshop.directory}/{name}", f"{workshop.secrets}/{name}")
    for path in (workshop.directory, workshop.secrets, found.path, found.secrets):
        make_private(path)
    os.mkdir(found.context, 0o755)
    try:
        yield found
    finally:
        await workshop.content.finish(asyncio.to_thread(_remove, found))


@asynccontextmanager
async def source(workshop: Workshop, found: Place, state: State | None) -> AsyncIterator[int]:
    """The descriptor of what files are taken from: the root of a state, or the context."""
    if state is not None:
        async with workshop.view(state) as root_fd:
            yield root_fd
        return
    with found.opened() as root_fd:
        yield root_fd


def recover(workshop: Workshop) -> None:
    """At start: remove what builds left that a kill has ended. Blocking."""
    for directory in (workshop.directory, workshop.secrets):
        for name in os.listdir(directory) if os.path.isdir(directory) else []:
            if name != "caches":
                trees.remove(f"{directory}/{name}")


async def receive(workshop: Workshop, found: Place, chunks: Chunks) -> int:
    """Unpack a context: a tar, plain or compressed; returns of how many members. Raises InvalidArgument."""
    with found.opened() as root_fd:
        limits = Limits(bytes=space.room(root_fd))._asdict()
        try:
            told = await pipes.feed(chunks, lambda fd: workshop.job("unpack", limits, [fd, root_fd]))
            return int(told["entries"])
        except KernelError as error:
            raise InvalidArgument(f"Error processing tar file: {error}") from None


async def receive_directory(workshop: Workshop, found: Place, directory: str, part: str) -> None:
    """Take a part of a directory as the context, links in it resolved inside the directory. Raises
    InvalidArgument.
    """
    arguments = {"path": f"/{part}/.", "name": None}
    with files.directory(directory) as root_fd:
        try:
            os.close(paths.open_in(root_fd, part or "/", os.O_PATH | os.O_DIRECTORY))
        except KernelError:
            raise InvalidArgument(f"the repository has no directory {part}") from None
        async with pipes.output(lambda fd: workshop.job("pack", arguments, [root_fd, fd])) as pieces:
            await receive(workshop, found, pieces)


async def unpack_file(workshop: Workshop, found: Place, fd: int) -> bytes:
    """Unpack a tar that was fetched; what is none is a Dockerfile, whose text is returned."""
    head = os.pread(fd, 1 << 16, 0)
    if begins_as_tar(head):
        await receive(workshop, found, of_file(fd))
        return b""
    return os.pread(fd, _MAX_DOCKERFILE, 0)


def begins_as_tar(head: bytes) -> bool:
    """Whether the first block of a file, decompressed, is the head of a member."""
    try:
        block = b"".join(Decompressor().feed(head))[:512]
        return len(block) == 512 and int(block[148:156].strip(b" \0") or b"x", 8) == _checksum(block)
    except (OnggiError, ValueError):
        return False


def _checksum(block: bytes) -> int:
    return sum(block[:148]) + 8 * 32 + sum(block[156:])


def _remove(found: Place) -> None:
    trees.remove(found.path)
    trees.remove(found.secrets)
