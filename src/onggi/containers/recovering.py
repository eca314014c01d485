"""What an engine does with the containers it finds when it starts (DECISIONS 14, 15, 25).

The monitor is the truth about what runs, then the exit record, then the database. A run of which nothing is
left ended with the machine: exit code 255, as dockerd says.
"""

from __future__ import annotations

import contextlib
import time

from onggi.containers import repository, restart
from onggi.containers.context import Context
from onggi.containers.execs import Execs
from onggi.containers.health import HealthMonitor
from onggi.containers.launching import has_probe
from onggi.containers.lifecycle import Lifecycle
from onggi.containers.model import Container, Health
from onggi.containers.networking import Networking
from onggi.containers.runs import Runs
from onggi.containers.runtime import ExitRecord, MonitorState
from onggi.errors import NotFound, OnggiError, Unavailable

LOST = 255


class Recovery:
    """Brings the live objects in line with what is there."""

    def __init__(
        self,
        context: Context,
        lifecycle: Lifecycle,
        runs: Runs,
        execs: Execs,
        health: HealthMonitor,
        networking: Networking,
    ) -> None:
        self._context, self._lifecycle, self._runs = context, lifecycle, runs
        self._execs, self._health = execs, health
        self._networking = networking

    async def recover(self, *, rebooted: bool = False) -> None:
        """Load everything, connect to what runs, book what ended, go on with removals and restarts."""
        await self._context.events.load()
        containers: list[Container] = await self._context.database.run(repository.load_all)
        for container in containers:
            self._context.adopt(container)
            for point in container.spec.mounts:
                if point.type == "volume":
                    self._context.volumes.hold(point.name, container.id)
        self._context.drop_strays()
        await self._context.networks.load()
        for container in containers:
            if container.state.running and not container.state.restarting:
                await self._recover_run(container, rebooted)
        await self._context.networks.recover()
        for container in containers:
            await self._go_on(container, rebooted)
        known = self._context.containers.values()
        self._context.runtime.sweep({entry.id: entry.run for entry in known if entry.alive})

    async def _go_on(self, container: Container, rebooted: bool) -> None:
        if container.id not in self._context.containers:
            return
        if container.removing or _forgotten_removal(container, rebooted):
            async with container.lock:
                await self._runs.erase(container)
        elif container.state.restarting:
            self._runs.schedule(container)
        elif rebooted and not container.state.running and restart.starts_at_boot(container):
            await self._start(container)

    async def _recover_run(self, container: Container, rebooted: bool) -> None:
        try:
            found = await self._context.runtime.recover(container.id, container.run)
        except Unavailable:
            found = None
        if isinstance(found, MonitorState) and found.run == container.run:
            self._adopt_run(container, found)
            with contextlib.suppress(NotFound):  # it ended while it was asked
                await self._networking.resume(container)
            return
        self._execs.adopt(container, {}, self._context.runtime.ended_execs(container.id, container.run))
        record = found if isinstance(found, ExitRecord) and found.run == container.run else _lost(container)
        await self._runs.ended(container, container.run, record, booted=rebooted)

    def _adopt_run(self, container: Container, found: MonitorState) -> None:
        state = container.state
        state.pid, state.started_ns, state.paused = found.pid, found.started_ns, found.status == "paused"
        if has_probe(container):
            state.health = state.health or Health()
        self._execs.adopt(container, found.execs, found.ended_execs)
        self._runs.watch(container)
        self._health.begin(container)

    async def _start(self, container: Container) -> None:
        try:
            await self._lifecycle.start(container.id)
        except OnggiError:
            return  # its state holds the error


def _forgotten_removal(container: Container, rebooted: bool) -> bool:
    """An --rm container, or step of a build, whose end was booked, but not its removal.

    After a reboot any that does not run: its row is not durable, so that its files may be gone already.
    """
    over = not container.state.running and (container.run > 0 or rebooted)
    return container.spec.fleeting and over


def _lost(container: Container) -> ExitRecord:
    """Nothing is left of the run: the machine went down, or the engine did before the launch."""
    return ExitRecord(
        run=container.run, code=LOST, started_ns=container.state.started_ns, finished_ns=time.time_ns()
    )
