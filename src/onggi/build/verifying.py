"""``build --verify``: whether the same steps, done again in other surroundings, lead to the same image."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from onggi.build import context
from onggi.build.comparing import differences
from onggi.build.context import Place
from onggi.build.explaining import Made
from onggi.build.options import Options
from onggi.build.workshop import Workshop

Json = Any
_NAMED = 100  # files of a step that are told by name


@asynccontextmanager
async def moved(workshop: Workshop, place: Place) -> AsyncIterator[Place]:
    """The same context, for another build, in a directory of its own; one that is kept stays where it is."""
    async with context.place(workshop) as other:
        if not place.kept:
            os.rename(place.context, other.context)
        yield msgspec.structs.replace(other, kept=place.kept, ssh=place.ssh)


def again(asked: Options) -> Options:
    """What the second build is asked: everything anew, one step at a time."""
    return msgspec.structs.replace(asked, no_cache=True, pull=False, again=True, explain=False)


async def verdict(
    workshop: Workshop, place: Place, images: tuple[str, str], made: Sequence[Mapping[str, Sequence[Made]]]
) -> Json:
    """What a client is told: both images, and of each step whose layers differ in which files.

    ``made`` are the steps of both builds, by stage.
    """
    found = []
    for stage, steps in made[0].items():
        for first, second in zip(steps, made[1].get(stage, ()), strict=False):
            if first.layer != second.layer:
                found.append({"Stage": stage, **await _step(workshop, place, first, second)})
    return {"Image": images[0], "Again": images[1], "Steps": found}


async def _step(workshop: Workshop, place: Place, first: Made, second: Made) -> Json:
    differing = await differences(workshop, place, first.layer, second.layer, limit=_NAMED)
    files, total = differing or ([], 0)
    return {"Instruction": first.text, "Files": files, "Total": total}
