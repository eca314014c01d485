"""The files of an image that was built, as they are in it: without the mount points of a container."""

from __future__ import annotations

from collections.abc import AsyncIterator

from onggi.build.state import State, from_image
from onggi.build.workshop import Workshop
from onggi.containers import pipes
from onggi.containers.pipes import Chunks
from onggi.errors import Unsupported
from onggi.oci.image import HOST


async def files(workshop: Workshop, name: str) -> Chunks:
    """The root of an image as a tar. Raises NotFound; Unsupported for the view of the machine."""
    image = await workshop.images.get(name)
    if image.base == HOST:
        raise Unsupported(f"{name} is on the view of the machine, whose files are no output")
    return await pipes.begun(_files(workshop, from_image(image, None)))


async def _files(workshop: Workshop, state: State) -> AsyncIterator[bytes]:
    everything = {"path": "/", "name": None}
    async with workshop.content.lease(ttl_s=0) as lease:
        if state.chain:
            await lease.have_layer(state.chain)
        async with (
            workshop.view(state) as root_fd,
            pipes.output(lambda fd: workshop.job("pack", everything, [root_fd, fd])) as pieces,
        ):
            async for piece in pieces:
                yield piece
