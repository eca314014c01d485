"""What the parts of the container service share: the live containers, the rooms below, and the paths.

On disk, owner: containers room::

    <data-root>/containers/<id>/{hosts,hostname,resolv.conf,<id>-json.log…}
    <exec-root>/containers/<id>/<run>/        made by the launcher's side
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec

from onggi.containers import files, links, names, repository
from onggi.containers.events import EventBus
from onggi.containers.host import Host
from onggi.containers.model import Container
from onggi.containers.runtime import Runtime
from onggi.containers.sweeper import Sweeper
from onggi.containers.turns import Turns
from onggi.errors import Conflict, NotFound
from onggi.images.service import Images
from onggi.images.transfers import Transfers
from onggi.logs.files import log_path
from onggi.networks.service import Networks
from onggi.store.database import Database
from onggi.store.rootfs import Rootfs
from onggi.store.snapshots import Draft, Snapshots
from onggi.store.spares import Spares
from onggi.volumes.holding import Holding

Json = Any
T = TypeVar("T")
SAVE_BEHIND_S = 0.1
STARTS = 2  # at once, for each processor: one may wait for its monitor
TOMBSTONE_NS = 600 * 1_000_000_000
MOST_TOMBSTONES = 20_000  # two for each container
CopyUp = Callable[[Rootfs, str, int], Awaitable[Json]]  # root, directory in it, target -> {"kind", "entries"}
Seccomp = Callable[[str, frozenset[str]], bytes]  # (profile text or "" for the default, capabilities) -> BPF


class Context(msgspec.Struct, kw_only=True, eq=False):
    """One engine's containers; everything here belongs to the event loop's thread.

    ``tombstones`` maps ids and names of removed containers to their exit code and the time of removal.
    """

    database: Database
    images: Images
    snapshots: Snapshots
    runtime: Runtime
    events: EventBus
    host: Host
    seccomp: Seccomp
    data_root: str
    exec_root: str
    spares: Spares
    volumes: Holding
    copy_up: CopyUp
    networks: Networks
    transfers: Transfers
    containers: dict[str, Container] = {}
    names: dict[str, str] = {}
    tombstones: dict[str, tuple[int, int]] = {}
    sweeper: Sweeper = msgspec.field(default_factory=Sweeper)
    turns: Turns = msgspec.field(default_factory=lambda: Turns(STARTS * len(os.sched_getaffinity(0))))

    def find(self, ref: str) -> Container:
        """The container of an id, name or unique prefix; raises NotFound in docker's words."""
        known, taken = self.containers, self.names
        return known[names.find_id(ref, known, lambda name: links.named(name, known, taken))]

    def reserve(self, name: str, container_id: str) -> None:
        """Take a name; raises Conflict in docker's words."""
        owner = self.names.get(name)
        if owner is not None:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{owner}". You have '
                "to remove (or rename) that container to be able to reuse that name."
            )
        self.names[name] = container_id

    def adopt(self, container: Container) -> None:
        self.containers[container.id] = container
        self.names[container.name] = container.id

    def drop(self, container: Container) -> None:
        """Forget a removed container but for its exit code (``wait`` may still ask for it)."""
        self.containers.pop(container.id, None)
        if self.names.get(container.name) == container.id:
            del self.names[container.name]
        now = time.time_ns()
        for key in (container.id, container.name):
            self.tombstones.pop(key, None)  # so that insertion order stays the order of removal
            self.tombstones[key] = (container.state.exit_code, now)
        while (
            now - self.tombstones[oldest := next(iter(self.tombstones))][1] > TOMBSTONE_NS
            or len(self.tombstones) > MOST_TOMBSTONES
        ):
            del self.tombstones[oldest]

    def tombstone(self, ref: str) -> int:
        """The exit code of a container that was removed less than ten minutes ago; raises NotFound."""
        found = self.tombstones.get(ref.removeprefix("/"))
        if found is None and len(ref) >= 12:
            found = next((value for key, value in self.tombstones.items() if key.startswith(ref)), None)
        if found is None or time.time_ns() - found[1] > TOMBSTONE_NS:
            raise NotFound(f"No such container: {ref}")
        return found[0]

    def directory(self, container_id: str) -> str:
        return f"{self.data_root}/containers/{container_id}"

    def run_directory(self, container: Container) -> str:
        return f"{self.exec_root}/containers/{container.id}/{container.run}"

    def make_directory(self, container_id: str) -> None:
        """The container's directory; only root may look into it."""
        try:
            self.spares.make(self.directory(container_id))
        except FileNotFoundError:
            os.makedirs(self.directory(container_id), 0o700)

    def remove_directory(self, container: Container) -> None:
        """The container's own few files; what something else put there goes too."""
        log = container.spec.host_config.log_config.type
        written = os.path.basename(log_path(log, container.id)) if log != "none" else ""
        names = (*files.DESTINATIONS.values(), *([written] if written else []))
        self.spares.remove(self.directory(container.id), names)

    def drop_strays(self) -> None:
        """At start: delete directories of containers that no row names, left by a kill or a power loss."""
        with contextlib.suppress(FileNotFoundError):
            for name in set(os.listdir(f"{self.data_root}/containers")) - self.containers.keys():
                shutil.rmtree(self.directory(name), ignore_errors=True)

    async def save(
        self, container: Container, *, durable: bool = False, told: bool = False, whole: bool = False
    ) -> None:
        """Write the row: its first time with everything, in one transaction with the snapshot's; later how
        it stands, ``told`` with the events up to now: neither survives a kill without the other.

        ``whole`` says that what was asked for has changed: everything again, durably.
        A new row is durable, but for a container that is removed after a power loss anyway.
        """
        if container.stored and whole:
            await self.database.run(repository.insert(container), durable=True)
            return
        if container.stored and told:
            with self.events.written_along() as events:
                await self.database.run(repository.save_state(container, events), durable=durable)
            return
        if container.stored:
            await self.database.run(repository.save_state(container), durable=durable)
            return
        durable, drafts = not container.spec.fleeting, container.volumes
        beside = [container.draft.record] if container.draft else []
        beside += [self.volumes.record(drafts)] if drafts else []
        await self.database.run(
            repository.insert(container, *beside),
            durable=durable,
            after=lambda _: self.volumes.recorded(drafts, durable=durable),
        )
        container.stored, container.draft, container.volumes = True, None, []

    def save_behind(self, container: Container) -> None:
        """Write the row of a container that has a record (``records``) unless it is soon removed."""
        loop = asyncio.get_running_loop()
        container.save_timer = loop.call_later(
            SAVE_BEHIND_S, lambda: self.spawn(container, self._save_behind(container))
        )

    async def _save_behind(self, container: Container) -> None:
        async with container.lock:
            if not container.stored and not container.removing:
                await self.save(container)

    async def rootfs(self, container: Container) -> Rootfs:
        """The container's root as data; cheap after the first time."""
        if container.rootfs is None:
            directory = container.spec.host_config.rootfs_directory
            if directory:
                container.rootfs = Rootfs(kind="directory", path=directory)
            else:
                try:
                    container.draft = await self._draft(container)
                    container.rootfs = container.draft.rootfs
                except NotFound:
                    if not container.stored:
                        raise
                    volatile = container.spec.host_config.auto_remove
                    container.rootfs = await self.snapshots.rootfs(container.id, volatile=volatile)
        rootfs: Rootfs = container.rootfs
        return rootfs

    async def _draft(self, container: Container) -> Draft:
        host = container.spec.host_config
        return await self.snapshots.draft(
            container.id,
            await self.images.get(container.spec.image_id),
            host_show=host.host_show or [],
            volatile=host.auto_remove,
            beside=[await self.images.get(image_id) for image_id in container.spec.mounted_images],
        )

    def publish(self, container: Container, action: str, time_ns: int = 0, **attributes: str) -> None:
        """A container event with docker's attributes: labels, image, name and those of the action."""
        facts: Mapping[str, str] = {
            **container.spec.config.labels,
            "image": container.spec.image,
            "name": container.name,
            **attributes,
        }
        self.events.publish("container", action, container.id, facts, time_ns)

    def spawn(self, container: Container, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work that the container owns; an error in it is reported by the loop's handler."""
        task = asyncio.get_running_loop().create_task(work)
        container.tasks.add(task)
        task.add_done_callback(container.tasks.discard)
        return task
