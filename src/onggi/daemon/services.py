"""The services below the API, built in the order of their dependencies and closed in reverse."""

from __future__ import annotations

import asyncio
import hashlib
import resource
from contextlib import AsyncExitStack

import msgspec

from onggi.build import cache as build_cache
from onggi.build import records as build_records
from onggi.build.agents import Agents
from onggi.build.service import Builder
from onggi.build.workshop import Workshop
from onggi.containers import host as machine_facts
from onggi.containers import pipes, records, restart, schema
from onggi.containers.context import Context
from onggi.containers.events import EventBus
from onggi.containers.host import Host
from onggi.containers.seccomp import Programs
from onggi.containers.service import Containers
from onggi.containers.supervisor import Supervisor
from onggi.daemon.birth import Birth, Limits
from onggi.daemon.config import DATA_ROOT, Config
from onggi.images import pushed
from onggi.images.flights import Flights
from onggi.images.hostbase import Seals
from onggi.images.layering import Intake
from onggi.images.registries import Registries
from onggi.images.service import Images
from onggi.images.transfers import Transfers
from onggi.kernel import capabilities, cgroups, features
from onggi.networks import repository as network_rows
from onggi.networks.core import Settings
from onggi.networks.ipam import POOLS, Pool
from onggi.networks.service import Networks
from onggi.store import drivers
from onggi.store.content import Content
from onggi.store.database import Database
from onggi.store.gc import Collector
from onggi.store.host import HostView
from onggi.store.host_scan import Scanner
from onggi.store.layers import Layers
from onggi.store.layout import Layout
from onggi.store.schema import MIGRATIONS
from onggi.store.snapshots import Snapshots
from onggi.store.spares import Spares
from onggi.store.trash import Trash
from onggi.version import build_id
from onggi.volumes import schema as volumes
from onggi.volumes.contents import Contents
from onggi.volumes.holding import Holding
from onggi.volumes.registry import Registry
from onggi.volumes.service import Volumes

_UNLIMITED = 2**64 - 1


class Services:
    """Database, store, images, events, supervisor and containers of one engine."""

    def __init__(self, config: Config, born: Birth, *, rebooted: bool) -> None:
        self._stack = AsyncExitStack()
        self.layout = Layout(config.data_root)
        self.layout.create()
        own = (build_cache, build_records, network_rows, pushed, schema, volumes)
        migrations = [*MIGRATIONS, *(step for room in own for step in room.MIGRATIONS)]
        self.database = Database(self.layout.database, migrations)
        self._stack.callback(self.database.close)
        unsettled = self.database.unsettled
        self.database.run_blocking(lambda it: unsettled.recover(it, rebooted=rebooted))
        self.database.run_blocking(lambda it: records.adopt(it, config.exec_root))
        self._open_store(config)
        self._open_containers(config, born)

    async def close(self) -> None:
        """Close everything in reverse order."""
        await self._stack.aclose()

    async def recover(self, *, rebooted: bool) -> None:
        """Find every container as it is; root file systems of containers that no row names are removed."""
        await self.containers.recover(rebooted=rebooted)
        await self.builder.recover()
        for container_id in set(self.snapshots.numbers) - set(self.containers.context.containers):
            await self.snapshots.remove(container_id)

    async def tidy(self) -> None:
        """Work that may wait: look at the machine's tree, delete what was put aside."""
        work = (self.host_view.refresh, self.trash.empty, self._volume_trash.empty)
        await asyncio.gather(*map(asyncio.to_thread, work))

    def started_at_boot(self) -> int:
        """How many containers are to be started when the machine comes up."""
        return sum(map(restart.starts_at_boot, self.containers.context.containers.values()))

    def reconfigure(self, config: Config) -> None:
        """Take over what may change while serving: defaults of containers made from now on."""
        context = self.containers.context
        context.host = msgspec.structs.replace(
            context.host, log_driver=config.log_driver, log_options=config.log_opts
        )

    def _forget(self) -> None:
        """Rows of layers and images went because the disk failed. On the database's thread."""
        self.snapshots.forget_layers()
        self.images.forget()

    def _in_use(self, image_id: str) -> list[tuple[str, bool]]:
        """(container id, whether it runs) of every container made from an image."""
        containers = self.containers.context.containers
        users = [containers[user] for user in self.containers.uses_image(image_id)]
        # A snapshot that has no row yet would not keep its layers.
        return [(user.id, user.state.running or not user.stored) for user in users]

    def _open_store(self, config: Config) -> None:
        driver = drivers.choose(self.database, config.data_root, config.storage_driver)
        self.layout = Layout(config.data_root, driver.directory)
        self.layout.create()
        scanner = Scanner(self.layout.host_masks)
        self.host_view = HostView(scanner, [config.data_root, config.exec_root])
        self._stack.callback(self.host_view.close)
        self.trash = Trash(self.layout.trash)
        self._stack.push_async_callback(asyncio.to_thread, self.trash.close)
        self.snapshots = Snapshots(self.database, self.layout, self.host_view, self.trash, driver)
        self._stack.push_async_callback(self.snapshots.close)
        self.content = Content(self.database, self.layout, self.trash)
        self._stack.push_async_callback(self.content.close)
        self.collector = Collector(self.content, self.snapshots, [pushed.keep])
        self.collector.recover()

    def _open_volumes(self, config: Config) -> Registry:
        registry = Registry(self.database, f"{config.data_root}/volumes", self.events.publish)
        self._stack.push_async_callback(asyncio.to_thread, registry.directories.trash.close)
        registry.recover()
        self.volumes, self._volume_trash = Volumes(registry), registry.directories.trash
        self.volume_contents = Contents(registry, self.supervisor.job, pipes)
        return registry

    def _open_containers(self, config: Config, born: Birth) -> None:
        machine = features.probe(), cgroups.detect()
        self.supervisor = Supervisor(
            config.exec_root, build_id(), config.cgroup_parent, *machine, config.spares
        )
        self._stack.callback(self.supervisor.close)
        self.layers = layers = Layers(self.layout, self.snapshots, self.supervisor.launcher.job)
        self.images = Images(self.content, self.collector, layers, self.host_view, self._in_use)
        self.registries = Registries(self.content, self.collector, self.images.catalog, config.registries)
        self.transfers = Transfers(self.content, layers, self.images, self.layout.host_key, config.registries)
        self._stack.callback(self.transfers.close)
        self.events = EventBus(self.database)
        self.database.on_lost = self._forget
        self.images.on_event = self.events.publish
        registry = self._open_volumes(config)
        self.networks = Networks(
            self.database,
            network_settings(config),
            lambda action, key, facts: self.events.publish("network", action, key, facts),
        )
        self._stack.push_async_callback(self.networks.close)
        self.containers = Containers(self._context(config, born, Holding(registry)))
        self._stack.push_async_callback(self.containers.close)
        self.builder = Builder(self._workshop(config), config.build_cache)
        self._stack.push_async_callback(self.builder.close)

    def _context(self, config: Config, born: Birth, volumes: Holding) -> Context:
        return Context(
            database=self.database,
            images=self.images,
            snapshots=self.snapshots,
            runtime=self.supervisor,
            events=self.events,
            host=msgspec.structs.replace(host_facts(config, born), storage_driver=self.snapshots.driver.name),
            seccomp=Programs(self.supervisor.features, f"{config.data_root}/seccomp"),
            data_root=config.data_root,
            exec_root=config.exec_root,
            spares=Spares(f"{config.data_root}/spares"),
            volumes=volumes,
            copy_up=self.supervisor.copy_up,
            networks=self.networks,
            transfers=self.transfers,
        )

    def _workshop(self, config: Config) -> Workshop:
        return Workshop(
            content=self.content,
            intake=Intake(self.content, self.layers),
            images=self.images,
            transfers=self.transfers,
            containers=self.containers,
            snapshots=self.snapshots,
            seals=Seals(self.layout.host_key),
            cache=build_cache.Cache(self.content, self.collector),
            flights=Flights(),
            agents=Agents(),
            directory=f"{config.data_root}/build",
            secrets=f"{config.exec_root}/build",
            copies={},
        )


def network_settings(config: Config) -> Settings:
    """Names on the machine are an engine's own: one with directories of its own has names of its own."""
    usual = config.data_root == DATA_ROOT
    suffix = "" if usual else "-" + hashlib.sha256(config.data_root.encode()).hexdigest()[:6]
    return Settings(
        table=f"onggi{suffix}",
        bridge=config.bridge or (f"onggi{suffix}" if suffix else "onggi0"),
        bip=config.bip,
        mtu=config.mtu or 1500,
        binding=config.ip,
        icc=config.icc,
        ip_forward=config.ip_forward,
        obey_firewall=config.obey_firewall,
        close_metadata=config.close_metadata,
        pools=tuple(Pool(base, size) for base, size in config.address_pools) or POOLS,
        seed=config.data_root + _machine_id(),
        exec_root=config.exec_root,
    )


def _machine_id() -> str:
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def host_facts(config: Config, born: Birth) -> Host:
    """What container specs need to know, with this engine's defaults."""
    names = capabilities.NAMES[: capabilities.last_cap() + 1]
    return msgspec.structs.replace(
        machine_facts.detect(config.cgroup_parent, names),
        log_driver=config.log_driver,
        log_options=config.log_opts,
        default_ulimits=default_ulimits(born.rlimits),
    )


def default_ulimits(at_birth: Limits) -> dict[str, tuple[int, int]]:
    """The limits that containers would otherwise inherit changed: ours were raised after birth."""
    changed: dict[str, tuple[int, int]] = {}
    for name, (soft, hard) in at_birth.items():
        if resource.getrlimit(getattr(resource, name)) != (soft, hard):
            changed[name.removeprefix("RLIMIT_").lower()] = (_oci(soft), _oci(hard))
    return changed


def _oci(limit: int) -> int:
    return _UNLIMITED if limit == resource.RLIM_INFINITY else limit
