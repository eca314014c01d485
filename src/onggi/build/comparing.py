"""In which files two layers differ, by a confined job."""

from __future__ import annotations

import asyncio
import os
from typing import NamedTuple

from onggi.build.context import Place
from onggi.build.workshop import Workshop
from onggi.errors import NotFound
from onggi.images.decompress import Decompressor
from onggi.images.recording import kept_blobs
from onggi.images.streams import PIECE
from onggi.store.content import Lease


class Differences(NamedTuple):
    """Paths, and in which respects they differ; ``total`` is how many there are in all."""

    found: list[tuple[str, list[str]]]
    total: int


async def differences(
    workshop: Workshop, place: Place, before: str, now: str, *, limit: int, times: bool = True
) -> Differences | None:
    """How the files of two layers differ, in times only if those tell something; None if one of the layers is
    not kept here any more.
    """
    with place.opened() as root_fd, place.scratch() as before_fd, place.scratch() as now_fd:
        try:
            async with workshop.content.lease(ttl_s=0) as lease:
                await _fetch(workshop, lease, before, before_fd)
                await _fetch(workshop, lease, now, now_fd)
            arguments = {"limit": limit, "times": times}
            answer = await workshop.job("compare", arguments, [root_fd, before_fd, now_fd])
            return Differences([(path, words) for path, words in answer["found"]], answer["count"])
        except NotFound:
            return None


async def _fetch(workshop: Workshop, lease: Lease, diff_id: str, fd: int) -> None:
    """Write the plain tar of a layer to a file. Raises NotFound."""
    blob = (await workshop.content.database.run(lambda it: kept_blobs(it, [diff_id])))[0][0]
    if await lease.have_blob(blob) is None:
        raise NotFound(f"no archive of layer {diff_id} is kept here")
    await asyncio.to_thread(_decompress, workshop.content.path(blob), fd)


def _decompress(path: str, fd: int) -> None:
    decompressor = Decompressor()
    with open(path, "rb") as file, open(fd, "wb", closefd=False) as out:
        while data := file.read(PIECE):
            out.writelines(decompressor.feed(data))
        out.writelines(decompressor.finish())
    os.lseek(fd, 0, os.SEEK_SET)


def described(differing: Differences | None) -> list[str]:
    """The same for people."""
    if differing is None:
        return ["its files changed; the layer before is no longer kept, which would tell how"]
    said = [f"{path} ({', '.join(words)})" for path, words in differing.found]
    more = differing.total - len(differing.found)
    return [*said, *([f"{more} more"] if more > 0 else [])]
