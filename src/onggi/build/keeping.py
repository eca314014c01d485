"""Contexts that stay here between builds, so that our command sends only what changed.

    <data-root>/build/caches/contexts/<id>/tree          the files, as they were sent
    <data-root>/build/caches/contexts/<id>/generation    what the client called them; absent while they change

The client says from which generation its changes lead to which; if that is not what is here, or another build
uses it, the answer is a conflict and the client sends everything. A generation counts until the machine is
started again, because nothing of it is flushed to the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from onggi.archive import trees
from onggi.build import context, tidying
from onggi.build.context import Place
from onggi.build.options import Kept
from onggi.build.workshop import Workshop
from onggi.errors import Conflict, InvalidArgument
from onggi.kernel import files
from onggi.kernel.process import boot_id
from onggi.store.layout import make_private

MAX_KEPT = 8
_ID = re.compile(r"[0-9a-f]{64}")


@asynccontextmanager
async def place(workshop: Workshop, held: set[str], kept: Kept) -> AsyncIterator[Place]:
    """A directory for a build whose context stays; ``held`` are those in use.

    Raises Conflict if the changes do not fit, InvalidArgument.
    """
    if not _ID.fullmatch(kept.id):
        raise InvalidArgument(f"invalid id of a context: {kept.id[:80]!r}")
    async with context.place(workshop) as plain:
        if kept.id in held:
            if kept.previous:
                raise Conflict("context is in use by another build")
            yield plain
            return
        held.add(kept.id)
        try:
            directory = f"{workshop.directory}/caches/contexts/{kept.id}"
            await asyncio.to_thread(_prepare, directory, kept, held)
            yield msgspec.structs.replace(plain, kept=directory)
        finally:
            held.discard(kept.id)


def _prepare(directory: str, kept: Kept, held: set[str]) -> None:
    """Make ready for what is sent. Blocking."""
    if not kept.previous:
        _make_room(os.path.dirname(directory), held)
        trees.remove(directory)
        parts = directory.split("/")
        for count in (3, 2, 1, 0):
            make_private("/".join(parts[: len(parts) - count]))
        os.mkdir(f"{directory}/tree", 0o755)
        return
    if _generation(directory) != f"{boot_id()} {kept.previous}":
        raise Conflict("context is not here as it was")
    os.unlink(f"{directory}/generation")
    with files.directory(f"{directory}/tree") as fd:
        for path in kept.removed:
            tidying.remove_in(fd, path)


def _generation(directory: str) -> str:
    try:
        with open(f"{directory}/generation") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def keep(place: Place, kept: Kept) -> bool:
    """Note that everything is here; False if the context of this build does not stay. Blocking."""
    if not place.kept:
        return False
    with open(f"{place.kept}/generation", "w") as file:
        file.write(f"{boot_id()} {kept.next}")
    return True


def _make_room(directory: str, held: set[str]) -> None:
    """Remove the contexts that were not used for longest."""
    ages: list[tuple[float, str]] = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            age = 0.0
            with contextlib.suppress(FileNotFoundError):
                age = os.stat(f"{directory}/{name}/generation").st_mtime
            ages.append((age, name))
    for _, name in sorted(ages)[: max(len(ages) - MAX_KEPT + 1, 0)]:
        if name not in held:
            trees.remove(f"{directory}/{name}")
