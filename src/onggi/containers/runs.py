"""One run of a container: its launch, its end, and what follows: restart or removal.

Order at an end: row (or its deletion), then those who wait, then files. The container's lock is held
through each change.
"""

from __future__ import annotations

import asyncio
import logging
import time

from onggi.containers import repository, restart, views
from onggi.containers.context import Context
from onggi.containers.health import HealthMonitor
from onggi.containers.launching import Launcher
from onggi.containers.model import Container, exit_answer, settle
from onggi.containers.mounting import Mounting, anonymous_volumes
from onggi.containers.networking import Networking
from onggi.containers.runtime import ExitRecord, Started
from onggi.containers.turns import Turn
from onggi.errors import Conflict, OnggiError
from onggi.kernel.failpoints import failpoint
from onggi.store.snapshots import Release
from onggi.volumes.holding import Departure

logger = logging.getLogger(__name__)


class Runs:
    """Begins and ends runs; the verbs of ``lifecycle`` and recovery stand on it."""

    def __init__(
        self, context: Context, launcher: Launcher, health: HealthMonitor, networking: Networking
    ) -> None:
        self._context, self._launcher, self._health = context, launcher, health
        self._networking = networking
        self._mounting = Mounting(context)

    async def begin(self, container: Container, turn: Turn | None = None) -> Started:
        """Launch, watch and tell; the lock is held. A failed start of an --rm container removes it.

        Raises Conflict if somebody has removed it meanwhile.
        """
        refuse_removed(container)
        # A start that fails is nobody's next exit: who waits for that goes on to wait, as with dockerd.
        early = set() if container.state.running else {*container.exit_waiters}
        try:
            with turn or await self._context.turns.take():
                started = await self._launcher.launch(container)
        except OnggiError as error:
            late = [waiter for waiter in container.exit_waiters if waiter not in early]
            container.exit_waiters[:] = [waiter for waiter in container.exit_waiters if waiter in early]
            settle(late, exit_answer(container.state.exit_code, str(error)))
            if container.spec.host_config.auto_remove and not container.removing:
                await self.erase(container)
            raise
        self.watch(container)
        self._mounting.tell(container, "mount")
        self._context.publish(container, "start", started.started_ns)
        for warning in started.warnings:
            logger.warning("container %s: %s", container.id[:12], warning)
        self._health.begin(container)
        return started

    def watch(self, container: Container) -> None:
        """Follow the current run to its end."""
        run = container.run
        future = self._context.runtime.exited(container.id)

        def ended(done: asyncio.Future[ExitRecord]) -> None:
            if not done.cancelled():
                self._context.spawn(container, self.ended(container, run, done.result()))

        future.add_done_callback(ended)

    async def ended(
        self, container: Container, run: int, record: ExitRecord, *, booted: bool = False
    ) -> None:
        """Book the end of a run: state, events, restart or removal.

        A restart because the machine ``booted`` is not counted, as dockerd's at its start; any other is: a
        limit of restarts holds through every end of the engine.
        """
        async with container.lock:
            if container.run != run or not container.state.running:
                return
            self._health.end(container)
            again = self._book(container, record)
            if again and booted:
                container.restarts = 0
            self._mounting.tell(container, "unmount")
            self._publish_end(container, record)
            self._networking.release(container)
            answer = exit_answer(record.code, record.error)
            if container.spec.host_config.auto_remove and not again:
                settle(container.exit_waiters, answer)
                await self.erase(container)
                return
            failpoint("containers.end.before_row")
            await self._context.save(container, told=True)
            failpoint("containers.end.after_row")
            settle(container.exit_waiters, answer)
            await self._context.runtime.forget(container.id, run)
        if again:
            self.schedule(container)

    def _book(self, container: Container, record: ExitRecord) -> bool:
        """Write the record into the state; whether the container is to be started again."""
        state = container.state
        container.execs.clear()
        again = not container.removing and restart.wants_restart(container, record.code)
        state.running, state.paused, state.restarting, state.pid = again, False, again, 0
        state.exit_code, state.oom_killed, state.error = record.code, record.oom, record.error
        state.log_errors = record.log_errors
        state.started_ns = record.started_ns or state.started_ns
        state.finished_ns = record.finished_ns or time.time_ns()
        if again:
            # The decision is committed before the action: a kill in between repeats the decision, not the
            # start.
            container.next_start_ns = time.time_ns() + restart.delay_ns(container.restarts, record)
            container.restarts += 1
        return again

    def _publish_end(self, container: Container, record: ExitRecord) -> None:
        context, state = self._context, container.state
        if record.oom:
            context.publish(container, "oom", state.finished_ns)
        duration_s = max(0, state.finished_ns - state.started_ns) // 1_000_000_000
        context.publish(
            container, "die", state.finished_ns, exitCode=str(record.code), execDuration=str(duration_s)
        )

    def schedule(self, container: Container) -> None:
        """Arm the timer of the next start."""
        if container.restart_timer is not None:
            container.restart_timer.cancel()
        delay_s = max(0.0, (container.next_start_ns - time.time_ns()) / 1e9)
        loop = asyncio.get_running_loop()
        container.restart_timer = loop.call_later(
            delay_s, lambda: self._context.spawn(container, self._start_again(container))
        )

    async def _start_again(self, container: Container) -> None:
        async with container.lock:
            if container.removing or not container.state.restarting:
                return
            container.restart_timer = None
            failpoint("containers.restart.before_start")
            try:
                await self.begin(container)
                failpoint("containers.restart.after_start")
            except OnggiError:
                return  # the state holds the error, as docker's does: a start that fails is not tried again

    def cancel_restart(self, container: Container) -> None:
        if container.restart_timer is not None:
            container.restart_timer.cancel()
            container.restart_timer = None
        if container.state.restarting:
            container.state.restarting = container.state.running = False
            container.next_start_ns = 0

    async def _drop(self, container: Container, releases: list[Release | Departure]) -> None:
        context = self._context
        if not container.stored:
            context.sweeper.put(lambda: _remove_files(context, container, releases))
            return
        await context.database.run(
            repository.delete(container.id, *(release.drop for release in releases)),
            durable=not container.spec.fleeting,
            frees=True,
            after=lambda _: _remove_files(context, container, releases),
        )
        container.stored = False

    async def erase(self, container: Container) -> None:
        """Rows first, in one transaction; then files. The lock is held and nothing runs.

        The transaction is durable, but for a container that is removed after a power loss anyway.
        """
        context = self._context
        failpoint("containers.remove.before_row")
        container.removing = True
        await views.clear(container, mounted=False)
        self.cancel_restart(container)
        if container.save_timer is not None:
            container.save_timer.cancel()
        with_volumes = container.remove_volumes or container.spec.host_config.auto_remove
        going = anonymous_volumes(container) if with_volumes else []
        async with self._mounting.leaving(container, going) as departure:
            releases = (context.snapshots.release(container.id), departure)
            await self._drop(container, [release for release in releases if release is not None])
        container.drop_attachments()
        failpoint("containers.remove.after_row")
        if container.run:
            await context.runtime.forget(container.id, container.run)
        context.drop(container)
        context.publish(container, "destroy")
        answer = exit_answer(container.state.exit_code)
        settle(container.exit_waiters, answer)
        settle(container.removal_waiters, answer)


def refuse_removed(container: Container) -> None:
    """Raise Conflict for a container that somebody removes."""
    if container.removing:
        raise Conflict("container is marked for removal and cannot be started")


def _remove_files(context: Context, container: Container, releases: list[Release | Departure]) -> None:
    """What no row names any more."""
    for release in releases:
        release.discard()
    context.remove_directory(container)
