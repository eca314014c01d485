"""The composition root: builds every object once, in order, and takes them apart in reverse.

Order at start (ARCHITECTURE §3): run directory, database, store, launcher, containers recover, sockets.
Containers do not notice an engine's end: closing lets go of monitors, it stops nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import msgspec

from onggi.api.engine import Engine
from onggi.api.listen import TlsFiles
from onggi.api.metrics import Metrics, render
from onggi.api.server import Server
from onggi.daemon import config as configuration
from onggi.daemon import detach, hosts, log, recovery, sockets
from onggi.daemon.birth import Birth
from onggi.daemon.config import Config
from onggi.daemon.data_root import DataRoot
from onggi.daemon.detach import Relaunch
from onggi.daemon.idle import Idle
from onggi.daemon.pidfile import PidFile
from onggi.daemon.services import Services
from onggi.daemon.system import Counts, System
from onggi.daemon.watch import LauncherWatch
from onggi.errors import OnggiError
from onggi.kernel import process, syscalls

logger = logging.getLogger("onggid")


def _engine(services: Services, system: System, data_root: DataRoot) -> Engine:
    return Engine(
        containers=services.containers,
        images=services.images,
        transfers=services.transfers,
        builder=services.builder,
        questions=services.transfers.questions,
        registries=services.registries,
        volumes=services.volumes,
        volume_contents=services.volume_contents,
        networks=services.networks,
        events=services.events,
        system=system,
        data_root=data_root,
    )


class Daemon:
    """One running onggid, from ``start`` to ``close``; everything in it belongs to one event loop."""

    def __init__(self, config: Config, born: Birth, relaunch: Relaunch) -> None:
        self._config, self._born, self._relaunch = config, born, relaunch
        self._stack = AsyncExitStack()
        self._ending = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Build, recover and listen. Raises OnggiError with the sentence that the starter should read."""
        config = self._config
        if config.pidfile:
            self._stack.callback(PidFile(config.pidfile).remove)
        rebooted = recovery.prepare_exec_root(config.exec_root)
        self._adopt_orphans()
        self.services = Services(config, self._born, rebooted=rebooted)
        self._stack.push_async_callback(self.services.close)
        config = self._config = msgspec.structs.replace(
            config, storage_driver=self.services.snapshots.driver.name
        )
        self._watch_launcher()
        await self.services.recover(rebooted=rebooted)
        self.system = System(config, self._born, self._count)
        self.server = Server(_engine(self.services, self.system, DataRoot(self.services)))
        self._stack.push_async_callback(self.server.close)
        await self._listen(config)
        self._handle_signals()
        self._leave_word()
        self._in_background(self.services.tidy)
        self._in_background(self.services.collector.keep_house)
        gc.freeze()  # what was loaded stays: no collection looks at it again

    async def _listen(self, config: Config) -> None:
        group = hosts.group_id(config.group)
        for path in sockets.paths(config):
            # The engine's own is in a directory that only root may enter.
            gid = -1 if path == config.socket_path else group
            await self.server.serve_unix(path, sockets.MODE, gid)
            logger.info("serving unix://%s", path)
        for host, port in config.tcp_addresses:
            files = config.tls and TlsFiles(config.tls.certificate, config.tls.key, config.tls.ca)
            logger.info("serving tcp://%s:%d", host, await self.server.serve_tcp(host, port, files))
        if config.metrics_address:
            metrics = Metrics(self._metrics)
            self._stack.push_async_callback(metrics.close)
            port = await metrics.serve(*hosts.address(config.metrics_address))
            logger.info("serving metrics on port %d", port)

    async def _metrics(self) -> str:
        totals = {
            "engine_daemon_events_total": self.services.events.published,
            "engine_daemon_health_checks_total": self.services.containers.health.probes,
            "engine_daemon_health_checks_failed_total": self.services.containers.health.failures,
        }
        return render(await self.system.info(), totals, self.server.timings)

    async def serve(self) -> None:
        """Serve until a signal or, if it was started on demand, until there is nothing to look after."""
        if self._config.on_demand:
            self._in_background(self._end_when_idle)
        await self._ending.wait()

    async def close(self) -> None:
        """Let go of everything, in reverse order. Containers, monitors and launcher go on."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._stack.aclose()

    def _adopt_orphans(self) -> None:
        """Monitors of a dead launcher become our children: somebody has to reap them (DECISIONS 12)."""
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, process.reap)

    def _watch_launcher(self) -> None:
        launcher = self.services.supervisor.launcher
        log_fd = _open_log(f"{self._config.exec_root}/launcher.log")
        self._stack.callback(os.close, log_fd)
        watch = LauncherWatch(lambda: launcher.open(log_fd))
        self._stack.callback(watch.close)
        watch.begin()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_end, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _told_to_end(self, number: signal.Signals) -> None:
        logger.info("%s: ending, containers go on", number.name)
        if not self.services.containers.busy():
            detach.remove_relaunch(self._config)
        self._ending.set()

    def _reload(self) -> None:
        try:
            fresh = configuration.reload(self._config)
        except OnggiError as error:
            logger.error("configuration not reloaded: %s", error)
            return
        self._config = self.system.config = fresh
        self.services.reconfigure(fresh)
        log.set_up(fresh.log_level)
        logger.info("configuration reloaded")
        self.services.events.publish("daemon", "reload", self.system.id, {"name": os.uname().nodename})

    def _leave_word(self) -> None:
        """Tell the launcher how to start this engine again; a foreground one belongs to its supervisor."""
        if self._config.on_demand:
            detach.write_relaunch(self._config, self._relaunch)
        else:
            detach.remove_relaunch(self._config)

    async def _end_when_idle(self) -> None:
        def busy() -> bool:
            return bool(self.server.busy or self.server.connections or self.services.containers.busy())

        await Idle(self._config.idle_timeout_s, busy, lambda: self.server.last_activity).wait()
        logger.info("nothing to look after for %d s: ending", self._config.idle_timeout_s)
        detach.remove_relaunch(self._config)
        self._ending.set()

    def _in_background(self, work: Callable[[], Awaitable[None]]) -> None:
        async def guarded() -> None:
            try:
                await work()
            except (OnggiError, OSError):
                logger.exception("background work failed")

        task = asyncio.get_running_loop().create_task(guarded())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _count(self) -> Counts:
        services = self.services
        return Counts(
            services.containers.counts(),
            images=len(await services.images.list({}, all=True)),
            listeners=services.events.listeners,
            always=services.started_at_boot(),
        )


def _open_log(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
