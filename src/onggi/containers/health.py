"""Health checks: a timer per container runs a probe as an exec and keeps docker's verdict."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

from onggi.containers.context import Context
from onggi.containers.execs import Exec, Execs
from onggi.containers.launching import has_probe
from onggi.containers.model import Container, Health, ProbeResult
from onggi.containers.request import ExecConfig, HealthConfig
from onggi.containers.runtime import Attach
from onggi.errors import OnggiError
from onggi.kernel.failpoints import failpoint
from onggi.times import duration

_SECOND_NS = 1_000_000_000
_INTERVAL_NS, _TIMEOUT_NS, _START_INTERVAL_NS, _RETRIES = 30 * _SECOND_NS, 30 * _SECOND_NS, 5 * _SECOND_NS, 3
_KEPT_RESULTS = 5
_KILL_GRACE_S = 10.0
_MAX_OUTPUT = 4096


class HealthMonitor:
    """Owns the probing task of each container that has a check."""

    def __init__(self, context: Context, execs: Execs) -> None:
        self._context, self._execs = context, execs
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.probes = self.failures = 0

    def begin(self, container: Container) -> None:
        """Start probing a container that has just started or was found running."""
        if has_probe(container):
            self._tasks[container.id] = self._context.spawn(container, self._probe_for_ever(container))

    def end(self, container: Container) -> None:
        """Stop probing."""
        task = self._tasks.pop(container.id, None)
        if task is not None:
            task.cancel()
        container.state.unprobed()

    async def _probe_for_ever(self, container: Container) -> None:
        check = container.spec.config.healthcheck or HealthConfig()
        while container.alive:
            await asyncio.sleep(self._pause_ns(container, check) / _SECOND_NS)
            if container.alive and not container.state.paused:
                result = await self._probe(container, check)
                failpoint("containers.health.after_probe")
                self._judge(container, check, result)

    def _pause_ns(self, container: Container, check: HealthConfig) -> int:
        interval_ns = check.interval or _INTERVAL_NS
        starting = container.state.health is not None and container.state.health.status == "starting"
        if starting and time.time_ns() - container.state.started_ns < check.start_period:
            return check.start_interval or min(_START_INTERVAL_NS, interval_ns)
        return interval_ns

    async def _probe(self, container: Container, check: HealthConfig) -> ProbeResult:
        start_ns = time.time_ns()
        timeout_ns = check.timeout or _TIMEOUT_NS
        timeout_s, output = timeout_ns / _SECOND_NS, bytearray()
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            theirs.setblocking(False)
            probe = self._execs.add(container, ExecConfig(cmd=_command(container, check)))
            probe.started = True
            stream = Attach(fd=theirs.detach(), stdin=False, framed=False)
            try:
                failpoint("containers.health.before_probe")
                await self._execs.launch(container, probe, stream, None)
                async with asyncio.timeout(timeout_s):
                    await _read_output(ours, output)
                code, text = await self._execs.ended(probe), _text(output)
            except TimeoutError:
                await self._kill(container, probe)
                said = f": {_text(output)}" if output else ""
                code, text = -1, f"Health check exceeded timeout ({duration(timeout_ns)}){said}"
            except OnggiError as error:
                code, text = -1, str(error)
        return ProbeResult(start_ns, time.time_ns(), code, text)

    async def _kill(self, container: Container, probe: Exec) -> None:
        """End a probe, and wait for that: its event is to stand before the verdict."""
        try:
            await self._context.runtime.call(container.id, "exec_signal", {"id": probe.id, "signal": 9})
        except OnggiError:
            return  # it ended meanwhile
        with contextlib.suppress(TimeoutError):  # one that hangs in the kernel holds up no other probe
            async with asyncio.timeout(_KILL_GRACE_S):
                await self._execs.ended(probe)

    def _judge(self, container: Container, check: HealthConfig, result: ProbeResult) -> None:
        health = container.state.health or Health()
        before = health.status
        self.probes += 1
        self.failures += result.exit_code != 0
        health.log = [*health.log, result][-_KEPT_RESULTS:]
        if result.exit_code == 0:
            health.failing_streak, health.status = 0, "healthy"
        elif not _in_start_period(container, check, result):
            health.failing_streak += 1
            if health.failing_streak >= (check.retries or _RETRIES):
                health.status = "unhealthy"
        container.state.health = health
        if health.status != before:
            self._context.publish(container, f"health_status: {health.status}")


def _in_start_period(container: Container, check: HealthConfig, result: ProbeResult) -> bool:
    starting = container.state.health is None or container.state.health.status == "starting"
    return starting and result.start_ns - container.state.started_ns < check.start_period


def _command(container: Container, check: HealthConfig) -> list[str]:
    if check.test[0] == "CMD":
        return check.test[1:]
    shell = container.spec.config.shell or ["/bin/sh", "-c"]
    return [*shell, " ".join(check.test[1:])]


async def _read_output(stream: socket.socket, output: bytearray) -> None:
    """Add what is written; the rest beyond docker's limit is dropped, so that the probe does not block."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(stream, 65536):
        output += data[: _MAX_OUTPUT + 1 - len(output)]


def _text(output: bytearray) -> str:
    return output[:_MAX_OUTPUT].decode("utf-8", "replace") + ("..." if len(output) > _MAX_OUTPUT else "")
