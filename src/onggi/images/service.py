"""The service behind ``docker images``, ``import``, ``tag``, ``rmi`` and ``image inspect``.

Files first, durable; then one durable transaction with every row; and the reverse when removing.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from onggi.errors import Conflict, InvalidArgument, OnggiError
from onggi.images import removal, views
from onggi.images.catalog import Catalog, keep
from onggi.images.recording import NewImage, describe, record
from onggi.images.sharing import sharing
from onggi.kernel.failpoints import failpoint
from onggi.oci import reference as references
from onggi.oci.digest import chain_ids, sha256
from onggi.oci.image import HOST, Image
from onggi.oci.reference import Reference
from onggi.store.content import Content
from onggi.store.gc import Collector, Garbage
from onggi.store.host import HostView, image_config
from onggi.store.layers import Layers
from onggi.times import rfc3339_fixed

Json = Any
T = TypeVar("T")
Records = list[Json]
_MOST_FOUND = 1000
Removed = tuple[Records, Garbage]
InUse = Callable[[str], Iterable[tuple[str, bool]]]  # image id -> (container id, is running)


OnEvent = Callable[[str, str, str, dict[str, str]], None]  # type, action, actor, attributes


def silent(type: str, action: str, actor: str, attributes: dict[str, str]) -> None:
    """The ``OnEvent`` where nobody listens."""


def nobody(_: str) -> Iterable[tuple[str, bool]]:
    """The ``InUse`` of an engine without containers."""
    return ()


class _Known(NamedTuple):
    """Answers since the last change of images."""

    found: dict[str, Image]
    listed: dict[bool, Records]  # by whether builds' steps are shown


class Images:
    """All images of one store, and the ``host`` image."""

    def __init__(
        self,
        content: Content,
        collector: Collector,
        layers: Layers,
        host: HostView,
        in_use: InUse = nobody,
    ) -> None:
        self._database, self._content, self._collector = content.database, content, collector
        self._layers, self._host = layers, host
        self.catalog = Catalog(content.blobs)
        self.in_use = in_use
        self.on_event: OnEvent = silent
        self._known = _Known({}, {})
        config = image_config()
        started = rfc3339_fixed(time.time_ns())  # the view is live: it is as old as the engine
        self._host_image = Image(
            sha256(msgspec.json.encode(config)), config, [f"{HOST}:latest"], 0, started, [], HOST
        )

    async def get(self, ref: str) -> Image:
        """By name, id, or unique id prefix. Raises NotFound (``No such image: busybox:latest``)."""
        if self._is_host(ref):
            return self._host_image
        known = self._known.found
        if ref in known:
            return known[ref]
        image = await self._database.run(lambda it: self.catalog.find(it, ref))
        if len(known) < _MOST_FOUND:
            known[ref] = image  # if something has changed meanwhile, nobody looks into this one any more
        return image

    async def _change(
        self,
        statement: Callable[[sqlite3.Connection], T],
        after: Callable[[T], None] | None = None,
        *,
        durable: bool = True,
    ) -> T:
        """A transaction, mostly durable, that changes images or their names; ``after`` deletes files."""
        try:
            return await self._database.run(statement, durable=durable, frees=after is not None, after=after)
        finally:
            self._known = _Known({}, {})

    def forget(self) -> None:
        """Rows of images were changed by others."""
        self._known = _Known({}, {})
        self.catalog.forget()

    async def list(
        self,
        filters: Mapping[str, Sequence[str]] | None = None,
        all: bool = False,
        *,
        shared: bool = False,
    ) -> Records:
        """docker's image summaries, newest first; ``all``: also those that builds made on the way.

        ``shared``: with how much other images have too.
        """
        known = self._known.listed
        if filters or all not in known:
            found = await self._summaries(filters or {}, all)
            if not filters:
                known[all] = found
        else:
            found = known[all]
        if shared:
            sizes = (await self._database.run(sharing)).shared
            found = [image | {"SharedSize": sizes.get(image["Id"], 0)} for image in found]
        return found

    async def _summaries(self, filters: Mapping[str, Sequence[str]], all: bool) -> Records:
        images = await self._database.run(lambda it: self._filtered(it, filters, all))
        return [views.summary(image, filters.get("reference", ())) for image in images]

    async def inspect(self, ref: str) -> Json:
        """docker's ImageInspect. Raises NotFound."""
        image = await self.get(ref)
        chain = list(reversed(chain_ids(image.layers)))
        directories = await self._database.run(lambda it: self._layers.directories(it, chain))
        tagged_ns = await self._database.run(lambda it: self.catalog.tagged_ns(it, image.id))
        overlays = await asyncio.to_thread(self._host.overlays) if image.base == HOST else []
        stored = views.Stored(self._layers.driver_name, directories, overlays)
        return views.detail(image, tagged_ns, stored)

    async def history(self, ref: str) -> Records:
        """docker's history, newest step first. Raises NotFound."""
        image = await self.get(ref)
        chain = chain_ids(image.layers)
        sizes = await self._database.run(lambda it: self._layers.sizes(it, chain))
        return views.history(image, sizes)

    async def announce(self, action: str, actor: str, name: str = "") -> None:
        """Publish what happened to an image: ``actor`` is its id, or the name by which it was moved."""
        labels: dict[str, str] = {}
        with contextlib.suppress(OnggiError):  # somebody may have removed it since
            labels = views.labels_of(await self.get(actor))
        self.on_event("image", action, actor, labels | {"name": name or actor})

    def _announce_gone(self, action: str, image: Image) -> None:
        """What was untagged still had its labels; what was deleted has none, as in docker."""
        labels = views.labels_of(image) if action == "untag" else {}
        self.on_event("image", action, image.id, labels | {"name": image.id})

    async def record(self, image: NewImage) -> dict[str, str]:
        """Write down an image whose blobs and layers are here.

        Returns the names that belonged to another image before, with that image's id. Raises DataLoss, or
        Conflict for the name of the view.
        """
        for name in image.names:
            refuse_host(name)

        def write(connection: sqlite3.Connection) -> dict[str, str]:
            moved = {}
            for name in image.names:
                before = self.catalog.named(connection, name)
                if before not in ("", image.id):
                    moved[name.familiar] = before
            record(connection, self.catalog, image)
            return moved

        return await self._change(write, durable=not image.hidden)

    async def collect(self) -> None:
        """Remove what nothing refers to."""
        self._known = _Known({}, {})
        await self._collector.run()

    async def describe(self, image: NewImage) -> None:
        """Note further manifests and sources of an image that is recorded."""
        await self._change(lambda it: describe(it, image))

    async def tag(self, ref: str, repository: str, tag: str = "") -> None:
        """Give an image a further name. Raises NotFound, InvalidArgument or Conflict."""
        reference = self.new_reference(f"{repository}:{tag}" if tag else repository)
        image = await self.get(ref)
        if image.id == self._host_image.id:
            raise Conflict(f"the image {HOST} is a view of this machine and has only this name")
        await self._change(lambda it: self.catalog.tag(it, reference, image.id))
        await self.announce("tag", image.id, reference.familiar)

    async def remove(self, ref: str, *, force: bool = False, prune: bool = True) -> Records:
        """Untag or delete by docker's rules; answers ``{"Untagged": name}`` and ``{"Deleted": id}`` records.

        Raises NotFound, or Conflict in docker's words. ``noprune`` keeps parents, of which there are none
        here.
        """
        if self._is_host(ref):
            raise Conflict(
                f"conflict: unable to delete {HOST} (cannot be forced) - image is a view of this machine"
            )

        found = await self.get(ref)
        users = list(self.in_use(found.id))  # asked here: containers belong to the event loop's thread

        def drop(connection: sqlite3.Connection) -> Removed:
            plan = removal.plan(self.catalog.load(connection, found.id), ref, users, force=force)
            return self._collected(connection, self._delete(connection, plan))

        records, _ = await self._change(drop, self._discard)
        for done in records:
            if "Untagged" in done or done["Deleted"] == found.id:
                self._announce_gone("untag" if "Untagged" in done else "delete", found)
        return records

    async def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Json:
        """Delete images that no container uses: untagged ones, or all with the filter ``dangling=false``.

        What operations left that are over goes too: partial downloads, and what they brought.
        """
        asked = dict(filters or {})
        dangling = asked.pop("dangling", ["true"])[0].lower() not in ("false", "0")

        found = await self._database.run(lambda it: self._filtered(it, asked))
        free = {it.id for it in found if not list(self.in_use(it.id))}

        def drop(connection: sqlite3.Connection) -> Removed:
            images = [it for it in self.catalog.every(connection) if it.id in free]
            unused = [it for it in images if not (dangling and it.tags)]
            records = [it for image in unused for it in self._delete(connection, removal.whole(image))]
            return self._collected(connection, records, abandoned=True)

        ingest = self._content.ingest
        partial = await asyncio.to_thread(ingest.size)
        records, garbage = await self._change(drop, self._discard)
        freed = garbage.size + max(0, partial - await asyncio.to_thread(ingest.size))
        by_name = {name: it for it in found for name in (it.id, *it.tags)}
        for done in records:
            action, name = ("untag", done["Untagged"]) if "Untagged" in done else ("delete", done["Deleted"])
            if name in by_name:
                self._announce_gone(action, by_name[name])
        self.on_event("image", "prune", "", {"reclaimed": str(freed)})
        return {"ImagesDeleted": records or None, "SpaceReclaimed": freed}

    def new_reference(self, text: str) -> Reference:
        """A name that an image may be given. Raises InvalidArgument, or Conflict for the name of the view."""
        reference = references.parse(text).with_default_tag()
        if reference.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        if reference.familiar.partition(":")[0] == "sha256":
            raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")
        refuse_host(reference)
        return reference

    def _is_host(self, ref: str) -> bool:
        if ref in (HOST, f"{HOST}:latest", f"docker.io/library/{HOST}:latest"):
            return True
        bare = ref.removeprefix("sha256:")
        return len(bare) >= 12 and self._host_image.id[7:].startswith(bare)

    def _filtered(
        self, connection: sqlite3.Connection, filters: Mapping[str, Sequence[str]], all: bool = False
    ) -> Sequence[Image]:
        def find(ref: str) -> Image:
            return self._host_image if self._is_host(ref) else self.catalog.find(connection, ref)

        compiled = views.filters(filters, find)
        images = [*self.catalog.every(connection, hidden=all), self._host_image]
        return sorted(keep(images, compiled), key=lambda image: image.created, reverse=True)

    def _delete(self, connection: sqlite3.Connection, plan: removal.Plan) -> Records:
        for tag in plan.untag:
            self.catalog.untag(connection, references.parse(tag))
        if plan.delete:
            self.catalog.drop(connection, plan.delete)
        deleted = [{"Deleted": plan.delete}] if plan.delete else []
        return [*({"Untagged": tag} for tag in plan.untag), *deleted]

    def _collected(
        self, connection: sqlite3.Connection, records: Records, *, abandoned: bool = False
    ) -> Removed:
        garbage = self._collector.collect(connection, abandoned=abandoned)
        return [*records, *({"Deleted": chain_id} for chain_id, _ in garbage.layers)], garbage

    def _discard(self, removed: Removed) -> None:
        """Behind the durable commit, on the database's thread."""
        failpoint("images.remove.after_row")
        self._collector.discard(removed[1])


def refuse_host(reference: Reference) -> None:
    """Raise Conflict for the name that belongs to the view of this machine."""
    if reference.familiar_name == HOST:
        raise Conflict(f"the name {HOST} belongs to the view of this machine; choose another")
