"""What the steps of builds work with: the store's services, and how layers and images come of it."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import msgspec

from onggi.archive import gather
from onggi.archive.extract import Limits
from onggi.build.agents import Agents
from onggi.build.cache import Cache
from onggi.build.state import State, timestamp
from onggi.containers import pipes
from onggi.containers.service import Containers
from onggi.errors import InvalidArgument, NotFound
from onggi.images.flights import Flights
from onggi.images.hostbase import MEMBER, Seals
from onggi.images.importer import finished
from onggi.images.layering import Intake
from onggi.images.recording import NewImage
from onggi.images.service import Images
from onggi.images.streams import Chunks
from onggi.images.transfers import Transfers
from onggi.kernel import files
from onggi.kernel.failpoints import failpoint
from onggi.oci.digest import chain_id, sha256
from onggi.oci.image import HOST, Image
from onggi.oci.reference import Reference
from onggi.store import space
from onggi.store.content import Content, Lease
from onggi.store.rootfs import Overlay, Rootfs
from onggi.store.snapshots import Snapshots

Json = Any
T = TypeVar("T")
COPY = "copy"


class Workshop(NamedTuple):
    """One engine's; ``directory`` and ``secrets`` are for builds in progress, the latter in memory.

    ``copies`` are diff ids of layers by what they would be made of, were they made again.
    """

    content: Content
    intake: Intake
    images: Images
    transfers: Transfers
    containers: Containers
    snapshots: Snapshots
    seals: Seals
    cache: Cache
    flights: Flights[None]
    agents: Agents
    directory: str
    secrets: str
    copies: dict[str, str]

    async def job(self, name: str, arguments: Json, fds: Sequence[int]) -> Json:
        """A confined job."""
        return await self.containers.context.runtime.job(name, arguments, fds)

    async def keep_layer(self, lease: Lease, chunks: Chunks, parents: Sequence[str]) -> str:
        """Take a layer in above ``parents``, for the next durable commit to settle; its diff id."""
        return (await self.take_layer(lease, chunks, parents))[0]

    async def take_layer(self, lease: Lease, chunks: Chunks, parents: Sequence[str]) -> tuple[str, bool]:
        """``keep_layer``, which tells also whether the same was here; then that stays."""
        async with self.intake.from_stream(lease, chunks, durable=False) as arrival:
            diff_id = arrival.layer.diff_id
            here = await lease.have_layer(chain_id([*parents, diff_id]))
            if not here:
                failpoint("build.layer.before_row")
                await self.intake.record(arrival, parents)
        return diff_id, here

    async def keep_image(self, lease: Lease, state: State, names: Sequence[Reference] | None = None) -> str:
        """Write down the image of a state and return its id; without ``names`` (which may be none) it is one
        that was made on the way.
        """
        document = finished({"created": timestamp(state.time_ns), **state.document}, state.layers)
        if state.base == HOST:
            document[MEMBER] = self.seals.member(state.layers)
        data = msgspec.json.encode(document, order="sorted")
        if names is None and await self._has_image(lease, image_id := sha256(data)):
            return image_id
        image_id = await lease.put(data, durable=names is not None)
        failpoint("build.image.before_row")
        made = NewImage(image_id, state.layers, state.base, names=[*(names or [])], hidden=names is None)
        await self.images.record(made)
        return image_id

    async def _has_image(self, lease: Lease, image_id: str) -> bool:
        """Whether an image is written down; it stays here for the time of the lease."""
        if await lease.have_blob(image_id) is None:
            return False
        query = "SELECT 1 FROM images WHERE id = ?"
        found = await self.content.database.run(lambda it: it.execute(query, (image_id,)).fetchone())
        return found is not None

    async def directories(self, state: State) -> list[str]:
        """Where the layers of a state lie, top first; the machine itself below those of its view."""
        if not state.layers:
            return ["/"] if state.base == HOST else []
        found = await self.snapshots.layers(_image(state), to_mount=False)
        return [*found, "/"] if state.base == HOST else found

    async def below_views(self, state: State) -> list[str]:
        """The directories that a `view` of a state shows, top first."""
        if not state.layers:
            return []
        return await self.snapshots.layers(_image(state), to_mount=self.snapshots.driver.name != "copy")

    @asynccontextmanager
    async def rootfs(self, state: State) -> AsyncIterator[Rootfs]:
        """A root of a state that nobody else has, gone at the end."""
        key = f"build-{uuid4().hex}"
        draft = await self.snapshots.draft(key, _image(state), volatile=True)
        try:
            yield draft.rootfs
        finally:
            await self.content.finish(self.snapshots.remove(key, durable=False))

    @asynccontextmanager
    async def view(self, state: State) -> AsyncIterator[int]:
        """The descriptor of a state's files, read-only: without the mount points that a container gets."""
        if state.base == HOST or self.snapshots.driver.name == "copy":
            async with self.rootfs(state) as rootfs, self.root(rootfs, readonly=True) as fd:
                yield fd
            return
        # Below its layers something empty: an overlay needs two of them, and an image may have none.
        nothing = f"{self.directory}/{uuid4().hex}"
        os.makedirs(nothing, mode=0o755)
        try:
            if state.layers:
                layers = await self.snapshots.layers(_image(state))
                rootfs = Rootfs("overlay", [Overlay("/", [*layers, nothing])])
            else:
                rootfs = Rootfs("directory", path=nothing)
            async with self.root(rootfs, readonly=True) as fd:
                yield fd
        finally:
            os.rmdir(nothing)

    async def copy(self, root_fd: int, path: str, directory: str) -> str:
        """Copy what a path leads to inside a root into a new directory of ours; where it is there. Raises
        InvalidArgument for what is neither file nor directory.
        """
        try:
            (source,) = gather.find(root_fd, os.fsencode(path) or b".")
        except (NotFound, ValueError):
            raise InvalidArgument(f"{path}: no such file or directory, or more than one") from None
        arguments = {"path": f"/{path}/." if source.is_directory else f"/{path}", "name": COPY}
        with files.directory(directory) as target_fd:
            limits = Limits(bytes=space.room(target_fd))._asdict()
            async with pipes.output(lambda fd: self.job("pack", arguments, [root_fd, fd])) as pieces:
                await pipes.feed(pieces, lambda fd: self.job("unpack", limits, [fd, target_fd]))
        return check_copy(directory, path)

    @asynccontextmanager
    async def root(self, rootfs: Rootfs, *, readonly: bool) -> AsyncIterator[int]:
        """The descriptor of a root, mounted for the time."""
        fd = await self.containers.context.runtime.roots.mount(rootfs, [], readonly=readonly)
        try:
            yield fd
        finally:
            os.close(fd)


def check_copy(directory: str, told: str) -> str:
    """The path of what was unpacked as ``COPY``: whoever mounts it follows no link of a stranger's. Raises
    InvalidArgument.
    """
    path = f"{directory}/{COPY}"
    if not os.path.lexists(path) or stat.S_IFMT(os.lstat(path).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
        raise InvalidArgument(f"{told} is neither a file nor a directory")
    return path


def _image(state: State) -> Image:
    return Image("", state.document, [], 0, "", list(state.layers), state.base)


Tell = Callable[[Json], None]
