"""``build --squash``: the layers of the last stage as one layer above what it begins on."""

from __future__ import annotations

import os

import msgspec

from onggi.build.context import Place
from onggi.build.state import State, timestamp
from onggi.build.workshop import Workshop
from onggi.errors import Unsupported
from onggi.images.streams import of_file
from onggi.oci.image import HOST
from onggi.store.content import Lease


async def squashed(workshop: Workshop, place: Place, lease: Lease, base: State, state: State) -> State:
    """The state with one layer above ``base``, or as it is if it has none. Raises Unsupported."""
    if len(state.layers) == len(base.layers):
        return state
    if state.base == HOST:
        raise Unsupported("--squash is not supported on the view of the machine: it is no layer")
    whole = await workshop.keep_image(lease, state)
    told = f"create new from {whole}"
    if base.layers:
        told = f"merge {whole} to {await workshop.keep_image(lease, base)}"
    with place.scratch() as fd:
        await _pack(workshop, base, state, fd)
        diff_id = await workshop.keep_layer(lease, of_file(fd), base.layers)
    return msgspec.structs.replace(
        state, document=_document(base, state, told), layers=[*base.layers, diff_id]
    )


async def _pack(workshop: Workshop, base: State, state: State, fd: int) -> None:
    lowers, every = await workshop.below_views(base), await workshop.below_views(state)
    own = [path for path in every if path not in lowers]
    async with workshop.view(state) as root_fd:
        tree = {"top": 1, "lowers": lowers, "own": own, "place": "/", "masks": [], "whole": True}
        await workshop.job("pack_layer", {"trees": [tree]}, [fd, root_fd])
    os.lseek(fd, 0, os.SEEK_SET)


def _document(base: State, state: State, told: str) -> dict[str, object]:
    """The configuration, in whose history the steps stay, without layers."""
    before = base.document["history"]
    steps = [{**step, "empty_layer": True} for step in state.document["history"][len(before) :]]
    merged = {"created": timestamp(state.time_ns), "comment": told}
    return {**state.document, "history": [*before, *steps, merged]}
