"""States and their changes: start, stop, kill, pause, restart, rename, remove, and what follows an exit.

Order at an exit: row (or its deletion), then those who wait, then files. One lock per container covers each change;
waiting for a process is done without it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from typing import Any

from onggi.containers import repository, restart, validate
from onggi.containers.context import Context
from onggi.containers.health import HealthMonitor
from onggi.containers.launching import Launcher, exit_code_of
from onggi.containers.model import Container, settle
from onggi.containers.runtime import ExitRecord, Started
from onggi.containers.signals import parse_signal
from onggi.errors import Conflict, InvalidArgument, NotFound, NotModified, OnggiError, Unsupported

Json = Any
STOP_TIMEOUT_S = 10
_KILL_GRACE_S = 10


class Lifecycle:
    """The verbs that change a container's state."""

    def __init__(self, context: Context, launcher: Launcher, health: HealthMonitor) -> None:
        self._context, self._launcher, self._health = context, launcher, health

    async def start(self, ref: str, *, checkpoint: str | None = None) -> None:
        """Start a stopped container; raises NotModified if it runs."""
        if checkpoint:
            raise Unsupported("checkpoints are not supported yet")
        container = self._context.find(ref)
        async with container.lock:
            _refuse_start(container)
            self._cancel_restart(container)
            container.restarts = 0
            await self.begin(container)

    async def begin(self, container: Container) -> Started:
        """Launch, watch and tell; the lock is held. A failed start of an --rm container removes it."""
        try:
            started = await self._launcher.launch(container)
        except OnggiError as error:
            self._context.publish(container, "die", exitCode=str(exit_code_of(error)), execDuration="0")
            answer = {"StatusCode": exit_code_of(error), "Error": {"Message": str(error)}}
            settle(container.exit_waiters, answer)
            if container.spec.host_config.auto_remove and not container.removing:
                await self.erase(container)
            raise
        self.watch(container)
        self._context.publish(container, "start", started.started_ns)
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

    async def ended(self, container: Container, run: int, record: ExitRecord) -> None:
        """Book the end of a run: state, events, restart or removal."""
        async with container.lock:
            if container.run != run or not container.state.running:
                return
            self._health.end(container)
            again = self._book(container, record)
            self._publish_end(container, record)
            answer = {"StatusCode": record.code, "Error": {"Message": record.error} if record.error else None}
            if container.spec.host_config.auto_remove and not again:
                settle(container.exit_waiters, answer)
                await self.erase(container)
                return
            await self._context.save(container)
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
            # The decision is committed before the action: a kill in between repeats the decision, not the start.
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
            try:
                await self.begin(container)
            except OnggiError:
                return  # the state holds the error, as docker's does: a start that fails is not tried again

    def _cancel_restart(self, container: Container) -> None:
        if container.restart_timer is not None:
            container.restart_timer.cancel()
            container.restart_timer = None
        if container.state.restarting:
            container.state.restarting = container.state.running = False
            container.next_start_ns = 0

    async def signal(self, ref: str, name: str) -> None:
        """``docker kill``."""
        container = self._context.find(ref)
        number = parse_signal(name or "KILL")
        if not container.alive:
            raise Conflict(f"cannot kill container: {ref}: container {container.id} is not running")
        await self._send(container, number)
        self._context.publish(container, "kill", signal=str(number))

    async def _send(self, container: Container, number: int) -> None:
        if number in (9, 15, _stop_signal(container)) and not container.stopped_by_user:
            container.stopped_by_user = True
            await self._context.save(container)
        try:
            await self._context.runtime.call(container.id, "signal", {"signal": number})
            if container.state.paused and number == 9:
                await self._context.runtime.call(container.id, "resume", {})
                container.state.paused = False
        except NotFound:
            return  # it ended meanwhile: that is what was wanted

    async def stop(self, ref: str, *, timeout_s: int | None = None, signal: str | None = None) -> None:
        """Signal, wait, kill; raises NotModified if nothing runs."""
        container = self._context.find(ref)
        number = parse_signal(signal) if signal else _stop_signal(container)
        if not container.state.running:
            raise NotModified(f"container {container.id} is not running")
        await self._stop(container, number, timeout_s)
        self._context.publish(container, "stop")

    async def _stop(self, container: Container, number: int, timeout_s: int | None) -> None:
        container.stopped_by_user = True
        if container.state.restarting:
            async with container.lock:
                self._cancel_restart(container)
                await self._context.save(container)
                settle(container.exit_waiters, {"StatusCode": container.state.exit_code, "Error": None})
            return
        ended = self.exit_future(container)
        if container.state.paused:
            await self._resume(container)
        await self._context.save(container)
        await self._send(container, number)
        self._context.publish(container, "kill", signal=str(number))
        limit_s = container.spec.config.stop_timeout if timeout_s is None else timeout_s
        limit_s = STOP_TIMEOUT_S if limit_s is None else limit_s
        if not await _settled(ended, None if limit_s < 0 else limit_s):
            await self.kill_all(container, ended)

    async def kill_all(self, container: Container, ended: asyncio.Future[Json]) -> None:
        """SIGKILL for every process, and wait for the end."""
        try:
            await self._context.runtime.call(container.id, "kill", {})
        except NotFound:
            pass  # the end is on its way
        self._context.publish(container, "kill", signal="9")
        if not await _settled(ended, _KILL_GRACE_S):
            raise Conflict(
                "could not kill container: tried to kill container, but did not receive an exit event"
            )

    def exit_future(self, container: Container) -> asyncio.Future[Json]:
        """Resolves when the current run is booked as ended."""
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        container.exit_waiters.append(future)
        return future

    def removal_future(self, container: Container) -> asyncio.Future[Json]:
        """Resolves when the container is removed."""
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        container.removal_waiters.append(future)
        return future

    async def restart(self, ref: str, *, timeout_s: int | None = None, signal: str | None = None) -> None:
        """Stop if it runs, then start."""
        container = self._context.find(ref)
        number = parse_signal(signal) if signal else _stop_signal(container)
        keep = container.spec.host_config.auto_remove
        # An --rm container must survive its own restart.
        container.spec.host_config.auto_remove = False
        try:
            if container.state.running:
                await self._stop(container, number, timeout_s)
            async with container.lock:
                if not container.state.running:
                    await self.begin(container)
        finally:
            container.spec.host_config.auto_remove = keep
        self._context.publish(container, "restart")

    async def pause(self, ref: str) -> None:
        container = self._context.find(ref)
        async with container.lock:
            if not container.alive:
                raise Conflict(f"container {container.id} is not running")
            if container.state.paused:
                raise Conflict(f"container {container.id} is already paused")
            await self._context.runtime.call(container.id, "pause", {})
            container.state.paused = True
            await self._context.save(container)
        self._context.publish(container, "pause")

    async def unpause(self, ref: str) -> None:
        container = self._context.find(ref)
        async with container.lock:
            if not container.alive or not container.state.paused:
                raise Conflict(f"container {container.id} is not paused")
            await self._resume(container)
            await self._context.save(container)
        self._context.publish(container, "unpause")

    async def _resume(self, container: Container) -> None:
        await self._context.runtime.call(container.id, "resume", {})
        container.state.paused = False

    async def rename(self, ref: str, new_name: str) -> None:
        container = self._context.find(ref)
        if not new_name:
            raise InvalidArgument("Neither old nor new names may be empty")
        name = validate.check_name(new_name)
        old = container.name
        if name == old:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        self._context.reserve(name, container.id)
        async with container.lock:
            container.name = name
            try:
                await self._context.save(container, durable=True)
            except BaseException:
                container.name = old
                self._context.names.pop(name, None)
                raise
            self._context.names.pop(old, None)
        self._context.publish(container, "rename", oldName=f"/{old}")

    async def remove(
        self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        """``docker rm``; ``volumes`` has nothing to do while there are no anonymous volumes."""
        if link:
            raise Unsupported("links: networks are not supported yet")
        container = self._context.find(ref)
        if container.removing:
            raise Conflict(f"removal of container {ref} is already in progress")
        if container.state.running and not force:
            raise Conflict(_refuse_removal(container))
        container.removing = True
        try:
            if container.state.running:
                await self._stop_for_removal(container)
            async with container.lock:
                if container.id in self._context.containers:
                    await self.erase(container)
        except BaseException:
            container.removing = False
            raise

    async def _stop_for_removal(self, container: Container) -> None:
        container.stopped_by_user = True
        if container.state.restarting:
            self._cancel_restart(container)
            return
        async with container.lock:
            ended = self.exit_future(container) if container.state.running else None
        if ended is not None:
            await self.kill_all(container, ended)

    async def erase(self, container: Container) -> None:
        """Row first, durably; then files. The lock is held and nothing runs."""
        context = self._context
        container.removing = True
        self._cancel_restart(container)
        if container.stored:
            await context.database.run(repository.delete(container.id), durable=True)
            container.stored = False
        container.drop_attachments()
        if container.run:
            await context.runtime.forget(container.id, container.run)
        if not container.spec.host_config.rootfs_directory:
            await context.snapshots.remove(container.id, durable=False)
        _remove_directory(context.directory(container.id))
        context.drop(container)
        context.publish(container, "destroy")
        answer = {"StatusCode": container.state.exit_code, "Error": None}
        settle(container.exit_waiters, answer)
        settle(container.removal_waiters, answer)


def _refuse_start(container: Container) -> None:
    state = container.state
    if container.removing:
        raise Conflict("container is marked for removal and cannot be started")
    if state.paused:
        raise Conflict("cannot start a paused container, try unpause instead")
    if container.alive:
        raise NotModified(f"container {container.id} is already started")


def _refuse_removal(container: Container) -> str:
    if container.state.paused:
        hint = "container is paused and must be unpaused first"
    else:
        word = "restarting" if container.state.restarting else "running"
        hint = f"container is {word}: stop the container before removing or force remove"
    return f'cannot remove container "/{container.name}": {hint}'


def _stop_signal(container: Container) -> int:
    return parse_signal(container.spec.config.stop_signal or "TERM")


async def _settled(future: asyncio.Future[Json], limit_s: float | None) -> bool:
    done, _ = await asyncio.wait([future], timeout=limit_s)
    return bool(done)


def _remove_directory(path: str) -> None:
    """The container's own few files; a directory that something else put there goes too."""
    try:
        for name in os.listdir(path):
            if name != "log":
                os.unlink(f"{path}/{name}")
        for name in os.listdir(f"{path}/log"):
            os.unlink(f"{path}/log/{name}")
        os.rmdir(f"{path}/log")
        os.rmdir(path)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)
