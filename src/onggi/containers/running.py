"""The private call that does create, start, attach and wait in one round trip.

Frames on the upgraded stream: type 5 right behind the 101 {"Id", "Warnings"}; docker's framed output; type
4 last, after removal is complete: {"Id", "StatusCode", "Error", "OOMKilled", "Trace", "Warnings"}, the last
only if the start found something to warn of.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from onggi.containers.attaching import attachment, check_size
from onggi.containers.context import Context
from onggi.containers.creation import Creator
from onggi.containers.detach import parse_detach_keys
from onggi.containers.model import ClientCopy, Container, enlist, exit_answer
from onggi.containers.options import AttachOptions, Hijack
from onggi.containers.request import convert
from onggi.containers.runs import Runs
from onggi.containers.runtime import Started
from onggi.containers.streams import send_all, status_frame
from onggi.containers.turns import Turn
from onggi.errors import InvalidArgument, OnggiError
from onggi.frames import EARLY_STATUS, FINAL_STATUS

Json = Any


class TerminalSize(msgspec.Struct):
    rows: int = 0
    cols: int = 0


class RunAttach(msgspec.Struct, rename="pascal"):
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: TerminalSize | None = None
    detach_keys: str = ""


class RunRequest(msgspec.Struct, rename="pascal"):
    """Body of ``POST /onggi/v1/run``; ``config`` is docker's create body."""

    config: Any
    name: str = ""
    attach: RunAttach | None = None
    wait: bool = False
    trace: bool = False
    platform: str = ""


class Runner:
    """``onggi run``."""

    def __init__(self, context: Context, creator: Creator, runs: Runs) -> None:
        self._context, self._creator, self._runs = context, creator, runs

    async def run(self, body: Json, hijack: Hijack | None) -> Json:
        """Create and start; answer at once, or when it ended if asked to wait.

        Up to the 101 errors are raised and nothing is left behind; after it they travel in the last frame,
        and in the answer to a client that does not wait.
        """
        request = convert(body, RunRequest)
        if request.attach is not None and hijack is None:
            raise InvalidArgument("a run with Attach needs an upgraded connection")
        with await self._context.turns.take() as turn:
            return await self._run(request, hijack, turn)

    async def _run(self, request: RunRequest, hijack: Hijack | None, turn: Turn) -> Json:
        container, warnings = await self._creator.prepare(
            request.name or None, request.config, platform=request.platform or None
        )
        try:
            await self._creator.furnish(container)  # whatever can fail cheaply fails before the 101
            life = _Life(self._context, self._runs, container, warnings, request.trace, turn)
            if request.attach is None or hijack is None:
                return await self._alone(life, request.wait)
            return await self._attached(life, request.attach, hijack)
        except BaseException:
            if not (container.stored or container.alive or container.removing):
                await self._creator.discard(container)
            raise

    async def _alone(self, life: _Life, wait: bool) -> Json:
        try:
            await life.start()
        except OnggiError as error:
            if wait or not life.container.stored:
                raise
            return life.failed(error) | {"Warnings": life.warnings}  # it is there: its name is worth having
        answer = await life.outcome() if wait else life.trace()
        return answer | {"Id": life.container.id, "Warnings": life.warnings + life.late_warnings()}

    async def _attached(self, life: _Life, wish: RunAttach, hijack: Hijack) -> Json:
        """Start with the client's stream; a copy of its socket kept here carries the last frame."""
        container = life.container
        parse_detach_keys(wish.detach_keys)
        if wish.tty is not None:
            check_size(wish.tty.rows, wish.tty.cols)
            container.size = (wish.tty.rows, wish.tty.cols)
        fd, early = await hijack()
        options = AttachOptions(
            stdin=wish.stdin,
            stdout=wish.stdout,
            stderr=wish.stderr,
            detach_keys=wish.detach_keys,
            framed=True,
        )
        container.attachments.append(attachment(container, options, fd, early, status=True))
        copy = container.run_client = ClientCopy(fd)
        try:
            early_status = {"Id": container.id, "Warnings": life.warnings}
            await send_all(copy.fd, status_frame(EARLY_STATUS, early_status))
            status = await life.to_the_end()
            if copy.fd >= 0:
                await send_all(copy.fd, status_frame(FINAL_STATUS, status))
        finally:
            copy.close()
        return status


class _Life:
    """One container from its start to its end, and to its removal if that was asked for."""

    def __init__(
        self,
        context: Context,
        runs: Runs,
        container: Container,
        warnings: list[str],
        trace: bool,
        turn: Turn,
    ) -> None:
        self._context, self._runs, self._trace, self._turn = context, runs, trace, turn
        self.container, self.warnings = container, warnings
        self._ended = enlist(container.exit_waiters)
        leaves = container.spec.host_config.auto_remove
        self._removed = enlist(container.removal_waiters) if leaves else None
        self._flushed: asyncio.Future[None] | None = None
        self._started: Started | None = None

    async def start(self) -> None:
        """The row and the run counter are committed by the launch in one durable transaction."""
        self._context.publish(self.container, "create")
        if self.container.attachments:
            self._context.publish(self.container, "attach")
        async with self.container.lock:
            self._started = await self._runs.begin(self.container, self._turn)
            self._flushed = self._context.runtime.flushed(self.container.id)

    async def outcome(self) -> Json:
        """How it ended, once removal is complete and the client has all output."""
        answer = await self._ended
        if self._removed is not None:
            await self._removed
        if self._flushed is not None:
            await self._flushed
        status = {**answer, "Id": self.container.id, "OOMKilled": self.container.state.oom_killed}
        return status | self.trace() | ({"Warnings": late} if (late := self.late_warnings()) else {})

    def late_warnings(self) -> list[str]:
        """What only the start could find."""
        found = self._started.warnings if self._started is not None else []
        return [warning for warning in found if warning not in self.warnings]

    def trace(self) -> Json:
        """Where the time of the start went, if that was asked for."""
        return {"Trace": self._started.trace} if self._trace and self._started is not None else {}

    async def to_the_end(self) -> Json:
        """``outcome``, with an error of the start in docker's place for it."""
        try:
            await self.start()
        except OnggiError as error:
            return self.failed(error)
        return await self.outcome()

    def failed(self, error: OnggiError) -> Json:
        """What a client reads of a container that was made and could not be started."""
        code = self.container.state.exit_code or 125
        code = code if code in (126, 127) else 125
        return {"Id": self.container.id, **exit_answer(code, str(error))}
