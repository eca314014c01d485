"""The verbs that change a container's state: start, stop, kill, pause, restart, rename, remove.

One lock per container covers each change; waiting for a process is done without it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from onggi.containers import validate
from onggi.containers.context import Context
from onggi.containers.failures import during
from onggi.containers.linking import Linking
from onggi.containers.model import Container, enlist, exit_answer, settle
from onggi.containers.runs import Runs, refuse_removed
from onggi.errors import Conflict, InvalidArgument, NotFound, NotModified, Unsupported
from onggi.kernel.failpoints import failpoint
from onggi.oci.signals import parse_signal

Json = Any
STOP_TIMEOUT_S = 10
_KILL_GRACE_S = 10
_NO_EXIT = "could not kill container: tried to kill container, but did not receive an exit event"


class Lifecycle:
    """docker's verbs."""

    def __init__(self, context: Context, runs: Runs) -> None:
        self._context, self._runs = context, runs

    async def start(self, ref: str, *, checkpoint: str | None = None) -> None:
        """Start a stopped container; raises NotModified if it runs."""
        if checkpoint:
            raise Unsupported("checkpoints are not offered by this engine: stop and start the container")
        container = self._context.find(ref)
        async with container.lock:
            _refuse_start(container)
            self._runs.cancel_restart(container)
            container.restarts = 0
            await self._runs.begin(container)

    async def kill(self, ref: str, signal: str) -> None:
        """``docker kill``."""
        try:
            container = self._context.find(ref)
            number = parse_signal(signal or "KILL")
        except (NotFound, InvalidArgument) as error:
            raise type(error)(f"cannot kill container: {ref}: {error}") from None
        if not container.alive:
            raise Conflict(f"cannot kill container: {ref}: container {container.id} is not running")
        # As docker, answer a SIGKILL when it has taken effect: clients inspect or remove right behind it.
        ended = enlist(container.exit_waiters) if number == 9 else None
        self._context.publish(container, "kill", signal=str(number))  # before that of the death
        await self._send(container, number)
        if ended is not None and not await _settled(ended, _KILL_GRACE_S):
            raise Conflict(_NO_EXIT)

    async def _send(self, container: Container, number: int) -> None:
        final = _is_final(container, number)
        if final and not container.stopped_by_user:
            container.stopped_by_user = True
            await self._context.save(container)
        try:
            await self._context.runtime.call(container.id, "signal", {"signal": number})
            if container.state.paused and final:
                await self._resume(container)  # for the signal to be read
                if number != 9:
                    self._context.publish(container, "unpause")
        except NotFound:
            return  # it ended meanwhile: that is what was wanted

    async def stop(self, ref: str, *, timeout_s: int | None = None, signal: str | None = None) -> None:
        """Signal, wait, kill; raises NotModified if nothing runs."""
        container = self._context.find(ref)
        with during(f"cannot stop container: {ref}"):
            number = parse_signal(signal) if signal else _stop_signal(container)
        if not container.state.running:
            raise NotModified(f"container {container.id} is not running")
        await self._stop(container, number, timeout_s)

    async def _stop(self, container: Container, number: int, timeout_s: int | None) -> None:
        container.stopped_by_user = True
        if container.state.restarting:
            async with container.lock:
                self._runs.cancel_restart(container)
                await self._context.save(container)
                settle(container.exit_waiters, exit_answer(container.state.exit_code))
            self._context.publish(container, "stop")
            return
        ended = enlist(container.exit_waiters)
        if container.state.paused and not _is_final(container, number):
            await self._resume(container)
        await self._context.save(container)
        self._context.publish(container, "kill", signal=str(number))
        failpoint("containers.stop.before_signal")
        await self._send(container, number)
        failpoint("containers.stop.after_signal")
        limit_s = container.spec.config.stop_timeout if timeout_s is None else timeout_s
        limit_s = STOP_TIMEOUT_S if limit_s is None else limit_s
        if not await _settled(ended, None if limit_s < 0 else limit_s):
            await self.kill_all(container, ended)
        self._context.publish(container, "stop")

    async def kill_all(self, container: Container, ended: asyncio.Future[Json]) -> None:
        """SIGKILL for every process, and wait for the end."""
        self._context.publish(container, "kill", signal="9")
        try:
            await self._context.runtime.call(container.id, "kill", {})
        except NotFound:
            pass  # the end is on its way
        if not await _settled(ended, _KILL_GRACE_S):
            raise Conflict(_NO_EXIT)

    async def restart(self, ref: str, *, timeout_s: int | None = None, signal: str | None = None) -> None:
        """Stop if it runs, then start."""
        container = self._context.find(ref)
        number = parse_signal(signal) if signal else _stop_signal(container)
        async with container.lock:
            if not (container.stored or container.removing):
                await self._context.save(container)  # with --rm, which the restart does without
        keep = container.spec.host_config.auto_remove
        # An --rm container must survive its own restart.
        container.spec.host_config.auto_remove = False
        try:
            if container.state.running:
                await self._stop(container, number, timeout_s)
            failpoint("containers.restart.after_stop")
            async with container.lock:
                refuse_removed(container)
                if not container.state.running:
                    container.restarts = 0
                    with during(f"Cannot restart container {ref}"):
                        await self._runs.begin(container)
        finally:
            container.spec.host_config.auto_remove = keep
        self._context.publish(container, "restart")

    async def pause(self, ref: str) -> None:
        container = self._context.find(ref)
        async with container.lock:
            container.require_alive()
            if container.state.paused:
                raise Conflict(f"Container {container.id} is already paused")
            await self._context.runtime.call(container.id, "pause", {})
            container.state.paused = True
            container.state.unprobed()
            await self._context.save(container)
        self._context.publish(container, "pause")

    async def unpause(self, ref: str) -> None:
        container = self._context.find(ref)
        async with container.lock:
            if not container.alive or not container.state.paused:
                raise Conflict(f"Container {container.id} is not paused")
            await self._resume(container)
            await self._context.save(container)
        self._context.publish(container, "unpause")

    async def _resume(self, container: Container) -> None:
        await self._context.runtime.call(container.id, "resume", {})
        container.state.paused = False

    async def rename(self, ref: str, name: str) -> None:
        container = self._context.find(ref)
        if not name:
            raise InvalidArgument("Neither old nor new names may be empty")
        with during("Error when allocating new name"):
            name = validate.check_name(name if name.startswith("/") else f"/{name}")
        old = container.name
        if name == old:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        try:
            self._context.reserve(name, container.id)
        except Conflict as error:
            raise Conflict(f"Error when allocating new name: {error}") from None
        async with container.lock:
            container.name = name
            try:
                await self._context.save(container, durable=True)
            except BaseException:
                container.name = old
                self._context.names.pop(name, None)
                raise
            self._context.names.pop(old, None)
            self._context.networks.sandboxes.rename(container.id, old, name)
            await Linking(self._context).renamed(container)
        self._context.publish(container, "rename", oldName=f"/{old}")

    async def remove(
        self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        """``docker rm``; with ``volumes`` the anonymous ones go too that nobody else holds."""
        if link:
            await Linking(self._context).unlink(ref)
            return
        container = self._context.find(ref)
        if container.removing:
            raise Conflict(f"removal of container {ref} is already in progress")
        if container.state.running and not force:
            raise Conflict(_refuse_removal(container, ref))
        container.removing, container.remove_volumes = True, volumes
        try:
            if container.state.running:
                await self._stop_for_removal(container)
            async with container.lock:
                if container.id in self._context.containers:
                    await self._runs.erase(container)
        except BaseException:
            container.removing = False
            raise

    async def _stop_for_removal(self, container: Container) -> None:
        container.stopped_by_user = True
        async with container.lock:  # a start by policy may be under way: it runs, once that is through
            if container.state.restarting:
                self._runs.cancel_restart(container)
                return
            ended = enlist(container.exit_waiters) if container.state.running else None
        if ended is not None:
            await self.kill_all(container, ended)


def _refuse_start(container: Container) -> None:
    state = container.state
    refuse_removed(container)
    if state.paused:
        raise Conflict("cannot start a paused container, try unpause instead")
    if container.alive:
        raise NotModified(f"container {container.id} is already started")


def _refuse_removal(container: Container, ref: str) -> str:
    if container.state.paused:
        hint = "container is paused and must be unpaused first"
    else:
        word = "restarting" if container.state.restarting else "running"
        hint = f"container is {word}: stop the container before removing or force remove"
    return f'cannot remove container "{ref}": {hint}'


def _stop_signal(container: Container) -> int:
    return parse_signal(container.spec.config.stop_signal or "TERM")


def _is_final(container: Container, number: int) -> bool:
    """Whether a container stays down after this signal: docker's rule; without a stop signal, any."""
    chosen = container.spec.config.stop_signal
    return not chosen or number in (9, parse_signal(chosen))


async def _settled(future: asyncio.Future[Json], limit_s: float | None) -> bool:
    done, _ = await asyncio.wait([future], timeout=limit_s)
    return bool(done)
