"""The data root as a whole: what it takes of the disk, and whether it is sound."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from onggi.errors import NotFound
from onggi.images.restoring import Restorer
from onggi.images.sharing import sharing
from onggi.oci.digest import chain_ids
from onggi.store import accounts
from onggi.store.accounts import Account, Measured
from onggi.store.findings import Finding
from onggi.store.fsck import Check, Store
from onggi.store.gc import Garbage

if TYPE_CHECKING:
    from onggi.daemon.services import Services

Json = Any


class DataRoot:
    """One engine's data root."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database

    async def usage(self) -> Json:
        """docker's answer of GET /system/df, in bytes of file data."""
        services = self._services
        images = await services.images.list({}, False)  # as docker: none that a build made on the way
        containers = await services.containers.list(all=True, size=True)
        used = Counter(container["ImageID"] for container in containers)
        found = await self._database.run(sharing)
        images = [  # not in place: the service keeps its list for the next answer
            image | {"Containers": used[image["Id"]], "SharedSize": found.shared.get(image["Id"], 0)}
            for image in images
        ]
        return {
            "LayersSize": found.layers,
            "Images": images,
            "Containers": containers,
            "Volumes": await services.volumes.usage(),
            "BuildCache": await services.builder.usage(),
        }

    async def accounts(self) -> Json:
        """``{"DataRoot", "Size", "Accounts": [{"Kind", "Count", "Size", "Reclaimable"}], "Usage"}``.

        Bytes on disk; the accounts' sum is what du(1) says of the data root. What is reclaimable would go
        with ``system prune -a``. ``Usage`` is docker's answer.
        """
        services = self._services
        running = [it for it in services.containers.context.containers.values() if it.state.running]
        left = {it.spec.image_id for it in running}, {it.id for it in running}
        layers = await self._database.run(accounts.known_layers)
        garbage = await self._database.run(lambda it: services.collector.preview(it, *left))
        measured = await asyncio.to_thread(accounts.measure, services.layout, layers)
        fresh = {number: size for number, size in measured.layers.items() if layers[number] is None}
        if fresh:
            await self._database.run(lambda it: accounts.remember(it, fresh))
        found = _accounts(measured, garbage, await self._removable())
        return {
            "DataRoot": services.layout.root,
            "Size": sum(account.size for account in found),
            "Accounts": [
                {"Kind": it.kind, "Count": it.things, "Size": it.size, "Reclaimable": it.reclaimable}
                for it in found
            ],
            "Usage": await self.usage(),
        }

    async def fsck(self, *, repair: bool, deep: bool) -> AsyncIterator[Json]:
        """``{"Finding": {"Object", "Problem", "Remedy", "Repaired"}}`` for each, last ``{"Checked": …}``."""
        services = self._services
        restorer = Restorer(services.content, services.layers)
        store = Store(
            services.layout,
            services.content,
            services.snapshots,
            services.collector,
            restorer.restore,
            restorer.compare,
            self._is_used,
        )
        check = Check(store, repair=repair, deep=deep)
        async for finding, repaired in check.run():
            if repaired:
                services.images.forget()
            yield _told(finding, repaired)
        lost = await services.volumes.lost()
        for finding in lost:
            yield _told(finding, False)
        check.counts["Findings"] += len(lost)
        yield {"Checked": check.counts}

    async def _is_used(self, chain_id: str) -> bool:
        """Whether a running container stands on a layer."""
        containers = self._services.containers.context.containers.values()
        for image_id in {it.spec.image_id for it in containers if it.state.running}:
            try:
                image = await self._services.images.get(image_id)
            except NotFound:  # removed, with -f: nobody can say
                return True
            if chain_id in chain_ids(image.layers):
                return True
        return False

    async def _removable(self) -> dict[str, int]:
        """Containers that a prune would remove, with the numbers of their snapshots (-1 for none)."""
        query = "SELECT key, number FROM snapshots WHERE kind = 'container'"
        numbers = dict(await self._database.run(lambda it: it.execute(query).fetchall()))
        containers = self._services.containers.context.containers.values()
        return {it.id: numbers.get(it.id, -1) for it in containers if not it.state.running}


def _told(finding: Finding, repaired: bool) -> Json:
    told = {"Object": finding.object, "Problem": finding.problem, "Remedy": finding.remedy}
    return {"Finding": told | {"Repaired": repaired}}


def _accounts(measured: Measured, garbage: Garbage, removable: Mapping[str, int]) -> list[Account]:
    partials = {
        name: size for name, size in measured.downloads.items() if f"sha256:{name}" not in garbage.leased
    }
    beside = Counter[str]()
    for (kind, container_id), size in measured.beside.items():
        beside[kind] += size if container_id in removable else 0
    written = sum(measured.written.get(number, 0) for number in removable.values())
    reclaimable = {
        "layers": sum(measured.layers.get(number, 0) for _, number in garbage.layers),
        "blobs": sum(measured.blobs.get(digest, 0) for digest in garbage.blobs),
        "containers": written + beside["containers"],
        "logs": beside["logs"],
        "downloads": sum(partials.values()),
    }
    return [
        Account(kind, measured.things[kind], measured.sizes[kind], reclaimable.get(kind, 0))
        for kind in accounts.KINDS
    ]
