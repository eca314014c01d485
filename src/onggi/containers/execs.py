"""``docker exec``: more processes in a running container, made by the same function of the spec as its
first one.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from typing import Any

import msgspec

from onggi.containers.attaching import attach_arguments, check_size
from onggi.containers.context import Context
from onggi.containers.detach import parse_detach_keys
from onggi.containers.launching import Launcher
from onggi.containers.model import Container, enlist, settle
from onggi.containers.options import ExecOptions, Hijack
from onggi.containers.request import ContainerConfig, ExecConfig, convert, words
from onggi.containers.runtime import Attach
from onggi.containers.spec import Command, environment, merge_env, process
from onggi.containers.streams import send_all, status_frame, until_head_is_read
from onggi.containers.validate import check_working_directory
from onggi.errors import CommandNotFound, Conflict, InvalidArgument, NotExecutable, NotFound, OnggiError
from onggi.frames import EARLY_STATUS, FINAL_STATUS, STDOUT, frame
from onggi.kernel.failpoints import failpoint
from onggi.oci.signals import parse_signal
from onggi.store.rootfs import Rootfs

Json = Any
_NO_CLIENT = {"stdin": False, "stdout": False, "stderr": False}
MAX_TIMEOUT_S = 30 * 24 * 3600
_KEPT_ENDED = 1000  # finished execs that can still be inspected, over all containers


class Exec(msgspec.Struct, kw_only=True):
    """One exec instance; ``exit_code`` is None until it ended."""

    id: str
    container_id: str
    config: ExecConfig
    started: bool = False
    running: bool = False
    exit_code: int | None = None
    pid: int = 0
    timeout_s: float = 0
    waiters: list[asyncio.Future[Json]] = msgspec.field(default_factory=list)


class ExecRun(msgspec.Struct, rename="pascal"):
    """Body of ``POST /onggi/v1/exec``; ``config`` is docker's body of an exec, whose ``Attach`` members say
    what an attached client gets. ``seconds`` is how long it may run, 0 for ever.
    """

    container: str
    config: Any
    attach: bool = False
    wait: bool = False
    seconds: float = 0


class Execs:
    """Creates, starts and reports execs."""

    def __init__(self, context: Context, launcher: Launcher) -> None:
        self._context, self._launcher = context, launcher
        self._execs: dict[str, Exec] = {}

    async def exec_create(self, ref: str, body: Json) -> str:
        """Check the request against a running container; the new exec's id."""
        container = self._context.find(ref)
        config = convert(body, ExecConfig)
        if not words(config.cmd):
            raise InvalidArgument("No exec command specified")
        check_working_directory(config.working_dir)
        parse_detach_keys(config.detach_keys)
        _require_running(container, ref)
        self._launcher.config_of(container)
        if config.user:
            self._launcher.identity(container, await self._context.rootfs(container), config.user)
        return self.add(container, config).id

    def add(self, container: Container, config: ExecConfig) -> Exec:
        """A new instance, not started."""
        new = Exec(id=secrets.token_hex(32), container_id=container.id, config=config)
        self._execs[new.id] = new
        container.execs[new.id] = new
        self._forget_old()
        self._publish(container, f"exec_create: {_shown(config)}", new)
        return new

    async def exec_run(self, body: Json, hijack: Hijack | None) -> Json:
        """Create and start in one round trip; answer at once, or when it ended if asked to wait.

        Up to the 101 errors are raised; after it they are output, as docker has them, and a last frame has
        the exit code.
        """
        asked = convert(body, ExecRun)
        if not 0 <= asked.seconds <= MAX_TIMEOUT_S:
            raise InvalidArgument(f"invalid Seconds: expected a number from 0 to {MAX_TIMEOUT_S}")
        started = self._get(await self.exec_create(asked.container, asked.config))
        started.timeout_s = asked.seconds
        if hijack is not None:
            await self._run_attached(started, hijack)
            return None
        await self.exec_start(started.id, ExecOptions(detach=True), None)
        return {"Id": started.id, **({"ExitCode": await self.ended(started)} if asked.wait else {})}

    async def _run_attached(self, started: Exec, hijack: Hijack) -> None:
        started.started = True
        fd, early = await hijack()
        stream = _stream(started.config, fd, early, framed=True)
        stream.exit_code = True
        await send_all(fd, status_frame(EARLY_STATUS, {"Id": started.id}))
        await self._launch_on(self._context.find(started.container_id), started, stream, None)

    async def exec_start(self, exec_id: str, options: ExecOptions, hijack: Hijack | None) -> None:
        """Start; with ``hijack`` the client's stream goes to the monitor, and errors are written on it.

        Returns when the program runs, or failed to. Raises NotFound, Conflict.
        """
        started = self._get(exec_id)
        container = self._context.find(started.container_id)
        _require_running(container, container.id)
        if started.started:
            now = "is already running" if started.running else "has already run"
            raise Conflict(f"exec command {exec_id} {now}")
        started.started = True
        if hijack is None or options.detach:
            await self.launch(container, started, None, options.size)
            return
        stream = _stream(started.config, *await hijack(), framed=not options.tty)
        await until_head_is_read(stream.fd)
        await self._launch_on(container, started, stream, options.size)

    async def _launch_on(
        self, container: Container, started: Exec, stream: Attach, size: tuple[int, int] | None
    ) -> None:
        """Launch with a client; after the 101 an error can only be told on the stream, as docker does."""
        copy = os.dup(stream.fd)
        try:
            await self.launch(container, started, stream, size)
        except OnggiError as error:
            text = f"{error}\r\n".encode()
            await send_all(copy, frame(STDOUT, text) if stream.framed else text)
            if stream.exit_code:
                await send_all(copy, status_frame(FINAL_STATUS, {"ExitCode": started.exit_code}))
        finally:
            os.close(copy)

    async def launch(
        self, container: Container, started: Exec, stream: Attach | None, size: tuple[int, int] | None
    ) -> None:
        """Ask the monitor; on failure the exec has docker's exit code and the error is raised."""
        config = started.config
        started.running = True
        self._publish(
            container, f"exec_start: {_shown(config)}", started
        )  # as docker, also of one that fails
        size = size or config.console_size
        try:
            arguments = {
                "id": started.id,
                "process": self._process(container, config, size, await self._context.rootfs(container)),
                "tty": config.tty,
                "size": size,
                "timeout": started.timeout_s,
                "seccomp": self._launcher.seccomp(container.spec.host_config),
                **(attach_arguments(stream) if stream else _NO_CLIENT),
            }  # fmt: skip
            turn = await self._context.turns.take()
        except BaseException:
            if stream:
                os.close(stream.fd)
            self._finish(container, started, 126)
            raise
        try:
            failpoint("containers.exec.before_launch")
            fds = [stream.fd] if stream else []
            with turn:
                answer = await self._context.runtime.call(container.id, "exec", arguments, fds)
        except BaseException as error:
            code = 127 if isinstance(error, CommandNotFound) else 126
            self._finish(container, started, code)
            if isinstance(error, (CommandNotFound, NotExecutable)):
                raise type(error)(_exec_words(str(error))) from None
            raise
        failpoint("containers.exec.after_launch")
        started.pid = int(answer.get("pid", 0))
        self._context.spawn(container, self._follow(container, started))

    def _process(
        self, container: Container, config: ExecConfig, size: tuple[int, int] | None, rootfs: Rootfs
    ) -> Json:
        spec = container.spec
        user = config.user or spec.config.user
        command = Command(
            argv=words(config.cmd),
            env=_environment(self._launcher.config_of(container), config),
            cwd=config.working_dir or spec.config.working_dir,
            identity=self._launcher.identity(container, rootfs, user),
            tty=config.tty,
            privileged=config.privileged or spec.host_config.privileged,
        )
        return process(command, spec.host_config, self._context.host, size if config.tty else None)

    async def _follow(self, container: Container, started: Exec) -> None:
        try:
            answer = await self._context.runtime.call(container.id, "exec_wait", {"id": started.id})
            code = int(answer["code"])
        except OnggiError:
            code = 137  # the container ended, and its execs with it
        self._finish(container, started, code)
        self._publish(container, "exec_die", started, code)

    def _finish(self, container: Container, started: Exec, code: int) -> None:
        started.running, started.exit_code, started.pid = False, code, 0
        settle(started.waiters, code)
        container.execs.pop(started.id, None)

    @staticmethod
    async def ended(started: Exec) -> int:
        """The exit code of an exec that was launched, when it has ended."""
        return int(await enlist(started.waiters)) if started.exit_code is None else started.exit_code

    async def exec_inspect(self, exec_id: str) -> Json:
        """docker's ``ExecInspectResponse``."""
        found = self._get(exec_id)
        if found.running:
            await self._catch_up(found)
        config, argv = found.config, words(found.config.cmd)
        return {
            "ID": found.id,
            "Running": found.running,
            "ExitCode": found.exit_code,
            "ProcessConfig": {
                "tty": config.tty,
                "entrypoint": argv[0],
                "arguments": argv[1:],
                "privileged": config.privileged,
                **({"user": config.user} if config.user else {}),
            },
            "OpenStdin": config.attach_stdin,
            "OpenStderr": config.attach_stderr,
            "OpenStdout": config.attach_stdout,
            "CanRemove": False,
            "ContainerID": found.container_id,
            "DetachKeys": config.detach_keys,
            "Pid": found.pid,
        }

    async def _catch_up(self, found: Exec) -> None:
        """A client may ask right behind the end of its stream: hear what the monitor said before that."""
        try:
            state = await self._context.runtime.call(found.container_id, "state", {})
        except OnggiError:
            return  # the container has ended: its end is being booked
        ended = state.get("ended_execs") or {}
        if found.id in ended and found.running:
            found.running, found.exit_code = False, int(ended[found.id])
        await asyncio.sleep(0)

    async def exec_resize(self, exec_id: str, h: int, w: int) -> None:
        found = self._get(exec_id)
        check_size(h, w)
        if not found.running:  # dockerd's status, which its specification does not list
            raise Conflict(f"exec {exec_id} is not running")
        arguments = {"id": exec_id, "rows": h, "cols": w}
        await self._context.runtime.call(found.container_id, "exec_resize", arguments)

    async def exec_kill(self, exec_id: str, signal: str) -> None:
        """Signal the process of a running exec, and nothing else of its container."""
        found, number = self._get(exec_id), parse_signal(signal)
        if not found.running:
            raise Conflict(f"exec {exec_id} is not running")
        await self._context.runtime.call(found.container_id, "exec_signal", {"id": exec_id, "signal": number})

    async def exec_timeout(self, exec_id: str, seconds: float) -> None:
        """Have an exec that is not started yet killed so long after its start; its monitor does that."""
        found = self._get(exec_id)
        if found.started:
            raise Conflict(f"exec {exec_id} has already been started: its timeout is set before")
        found.timeout_s = seconds

    def adopt(self, container: Container, running: dict[str, int], ended: dict[str, int]) -> None:
        """Execs that went on while no engine ran; what they were asked is no longer known."""
        for exec_id in (*running, *ended):
            unknown = ExecConfig(cmd=["?"])
            self._execs[exec_id] = Exec(id=exec_id, container_id=container.id, config=unknown, started=True)
        for exec_id, pid in running.items():
            known = container.execs[exec_id] = self._execs[exec_id]
            known.running, known.pid = True, pid
            self._context.spawn(container, self._follow(container, known))
        for exec_id, code in ended.items():
            self._execs[exec_id].exit_code = code

    def _get(self, exec_id: str) -> Exec:
        found = self._execs.get(exec_id)
        if found is None or found.container_id not in self._context.containers:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    def _publish(self, container: Container, action: str, found: Exec, code: int | None = None) -> None:
        ended = {} if code is None else {"exitCode": str(code)}
        self._context.publish(container, action, 0, execID=found.id, **ended)

    def _forget_old(self) -> None:
        if len(self._execs) > 2 * _KEPT_ENDED:
            done = [key for key, entry in self._execs.items() if entry.started and not entry.running]
            for key in done[:-_KEPT_ENDED]:
                del self._execs[key]


def _stream(config: ExecConfig, fd: int, early: bytes, *, framed: bool) -> Attach:
    return Attach(
        fd=fd,
        early=early,
        stdin=config.attach_stdin,
        stdout=config.attach_stdout,
        stderr=config.attach_stderr,
        framed=framed,
        detach_keys=parse_detach_keys(config.detach_keys) if config.tty else "",
    )


def _exec_words(text: str) -> str:
    """docker's sentence for an exec that failed; the runtime speaks of a start."""
    detail = text[max(0, text.find('exec: "'), text.find("chdir to cwd")) :]
    return f"OCI runtime exec failed: exec failed: unable to start container process: {detail}"


def _shown(config: ExecConfig) -> str:
    """As docker's events show it: the program, a space and the arguments, if any."""
    program, *arguments = words(config.cmd)
    return f"{program} {' '.join(arguments)}"


def _environment(own: ContainerConfig, config: ExecConfig) -> list[str]:
    base = [entry for entry in environment(own) if not entry.startswith("TERM=")]
    given = merge_env([*base, *(["TERM=xterm"] if config.tty else [])], own.env)
    return merge_env(given, config.env)


def _require_running(container: Container, ref: str) -> None:
    if container.state.restarting:
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    container.require_alive()
    if container.state.paused:
        raise Conflict(f"Container {ref} is paused, unpause the container before exec")
