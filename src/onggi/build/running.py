"""RUN: a container of its own for each step, whose changes become a layer, unless that is here."""

from __future__ import annotations

import asyncio
import codecs
import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from onggi.build import cache, debugging, options
from onggi.build.context import Place
from onggi.build.holders import Locks
from onggi.build.messages import STDERR
from onggi.build.mounts import Mounts, targets
from onggi.build.options import Options
from onggi.build.sharing import Imports
from onggi.build.state import Done, Origin, State
from onggi.build.workshop import Tell, Workshop
from onggi.containers.creation import Step
from onggi.containers.mount_points import MountPoint
from onggi.containers.options import AttachOptions, Hijacked
from onggi.dockerfile import instructions as typed
from onggi.dockerfile import syntax
from onggi.dockerfile.variables import proxy_values
from onggi.errors import CommandNotFound, InvalidArgument, NotExecutable
from onggi.images.progress import Progress
from onggi.oci.digest import chain_id
from onggi.oci.image import HOST
from onggi.store.content import Lease

Json = Any
HOSTNAME = "buildkitsandbox"
_DOCUMENTS = "/dev/pipes"


class StepFailed(InvalidArgument):
    """A command ended with another code than 0."""

    def __init__(self, command: str, code: int) -> None:
        self.code = code
        super().__init__(f"The command '{command}' returned a non-zero code: {code}")


class Task(NamedTuple):
    """One RUN: what is executed, with which variables, and what its history says; ``origin`` answers for the
    stages and images that it mounts.
    """

    step: typed.Run
    origin: Origin
    argv: list[str]
    env: list[str]
    told: str
    document: tuple[str, str] | None  # name and content of a heredoc that is a program
    shell: str


class Runner:
    """The RUN steps of one build."""

    def __init__(
        self,
        workshop: Workshop,
        place: Place,
        lease: Lease,
        asked: Options,
        locks: Locks,
        imports: Imports,
        used: dict[str, Sequence[str]],
    ) -> None:
        """``used`` hears which steps were done or found, and their layers, own last."""
        self._workshop, self._place, self._lease, self._asked = workshop, place, lease, asked
        self.mounts = Mounts(workshop, place, asked, locks, imports)
        self._used, self._imports, self._offered = used, imports, False

    async def run(self, state: State, step: typed.Run, scope: Scope, tell: Tell, *, no_cache: bool) -> Done:
        """The state behind a step, and whether its layer was here. Raises StepFailed."""
        options.check(step, self._asked)
        task = plan(state, step, scope)
        parts = await self._parts(state, task)
        key = self._asked.again * "again:" + cache.key_of(**parts)
        self._used[key] = ()
        diff_id = ""
        if not no_cache and state.base != HOST:
            diff_id = await self._found(key, state) or await self._imported(key, state, task, tell)
        cached = bool(diff_id)
        if not cached:
            diff_id = await self._done(key, state, task, tell)
        self._used[key] = [*state.layers, diff_id]
        parts["args"] = [arg.name for arg in scope.args]
        return Done(state.told(f"{task.told} # buildkit", diff_id, empty=False), cached, parts)

    async def _found(self, key: str, state: State) -> str:
        diff_id = await self._workshop.cache.find(key, state.layers)
        layers = [*state.layers, diff_id]
        return diff_id if diff_id and await self._lease.have_layer(chain_id(layers)) else ""

    async def _imported(self, key: str, state: State, task: Task, tell: Tell) -> str:
        mounts = task.step.mounts
        plain = task.document is None and not any(it.kind == "bind" or it.origin for it in mounts)
        told = f"{task.told} # buildkit"
        diff_id, warning = await self._imports.find(key, state, told, plain=plain)
        if warning:
            tell({"stream": warning})
        return diff_id

    async def _parts(self, state: State, task: Task) -> Json:
        """What the step's result depends on."""
        step, proxies = task.step, set(proxy_values(self._asked.args))
        return {
            "below": [state.chain, state.base],
            "argv": task.argv,
            "document": task.document,
            "env": [it for it in task.env if it.partition("=")[0] not in proxies],
            "user": state.config.get("User"),
            "directory": state.directory,
            "network": self._network(step),
            **({"security": step.security} if step.security == "insecure" else {}),
            "hosts": self._asked.host.get("ExtraHosts"),
            "mounts": await self.mounts.key(step, state, task.origin),
            "time": state.time_ns,
            **({"hostname": name} if (name := self._asked.own("SANDBOX_HOSTNAME")) else {}),
        }

    def _network(self, step: typed.Run) -> str:
        return step.network if step.network != "default" else self._asked.network

    async def _done(self, key: str, state: State, task: Task, tell: Tell) -> str:
        """Do the step, or follow somebody who does; its diff id."""

        async def work(progress: Progress) -> None:
            await self._do(key, state, task, progress)

        # What is mounted of this build's own directory goes with it: such a step is this build's alone.
        mounts = task.step.mounts
        own = (
            self._asked.debug
            or task.document
            or any(it.kind in ("secret", "ssh") or (it.kind == "bind" and not it.origin) for it in mounts)
        )
        diff_id = ""
        async for message in self._workshop.flights.follow((key, self) if own else key, work):
            if "layer" in message:
                diff_id = message["layer"]
            else:
                tell(message)
        await self._lease.have_layer(chain_id([*state.layers, diff_id]))
        return diff_id

    async def _do(self, key: str, state: State, task: Task, progress: Progress) -> None:
        workshop, step = self._workshop, task.step
        async with (
            workshop.content.lease(ttl_s=0) as lease,
            self.mounts.points(step, state, task.origin, progress.tell) as points,
        ):
            image_id = await workshop.keep_image(lease, state)
            points = [*points, *self._document(task)]
            body = self._body(image_id, state, task)
            like = Step(points, self.mounts.variables(step))
            container_id, _ = await workshop.containers.create(None, body, step=like)
            try:
                await self._executed(container_id, task, progress.tell, body, like)
                packing = {"targets": targets(points), "latest_ns": state.time_ns}
                chunks = await workshop.containers.layer(container_id, pause=False, packing=packing)
                diff_id = await workshop.keep_layer(lease, chunks, state.layers)
                await workshop.cache.keep(key, [*state.layers, diff_id], task.told)
            finally:
                await workshop.content.finish(debugging.remove(workshop, container_id))
        progress.tell({"layer": diff_id})

    def _document(self, task: Task) -> list[MountPoint]:
        if task.document is None:
            return []
        name, content = task.document
        path = self._place.write(content.encode(), 0o755)
        return [
            MountPoint(
                type="bind", source=path, destination=f"{_DOCUMENTS}/{name}", writable=False,
                propagation="rprivate",
            )
        ]  # fmt: skip

    def _body(self, image_id: str, state: State, task: Task) -> Json:
        network = self._network(task.step)
        return {
            "Image": image_id,
            "Cmd": task.argv,
            "Env": task.env,
            "User": state.config.get("User") or "",
            "WorkingDir": state.directory,
            "Hostname": "" if network == "host" else self._asked.own("SANDBOX_HOSTNAME") or HOSTNAME,
            "AttachStdout": True,
            "AttachStderr": True,
            "HostConfig": {
                **self._asked.host,
                "NetworkMode": network,
                "LogConfig": {"Type": "none"},
                "Privileged": task.step.security == "insecure",
            },
        }

    async def _executed(self, container_id: str, task: Task, tell: Tell, body: Json, like: Step) -> None:
        """The same as `_execute`; before it fails for the first time, a client who asks gets a shell."""
        try:
            await self._execute(container_id, task, tell)
        except StepFailed:
            if self._asked.debug and not self._offered:
                self._offered = True
                await debugging.offer(self._workshop, body, like, task.shell, tell)
            raise

    async def _execute(self, container_id: str, task: Task, tell: Tell) -> None:
        """Start the container, pass on what it says, and wait for its end. Raises StepFailed."""
        containers = self._workshop.containers
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            theirs.setblocking(False)

            async def hijack() -> Hijacked:
                return Hijacked(theirs.detach(), b"")

            wish = AttachOptions(stdout=True, stderr=True, stream=True, framed=True)
            await containers.attach(container_id, wish, hijack)
            ended = await containers.wait(container_id, "next-exit")
            try:
                await containers.start(container_id)
            except (CommandNotFound, NotExecutable) as error:
                tell({"stream": f"{error}\n"})
                raise StepFailed(
                    " ".join(task.argv), 127 if isinstance(error, CommandNotFound) else 126
                ) from None
            await _pass_on(ours, tell)
            answer = await ended
        if answer["StatusCode"]:
            raise StepFailed(" ".join(task.argv), answer["StatusCode"])


class Scope(NamedTuple):
    """What a step sees of its stage: the values of variables, the ARGs so far, and states by name."""

    variables: Mapping[str, str]
    args: list[typed.Variable]
    proxies: Mapping[str, str]
    origin: Origin


def plan(state: State, step: typed.Run, scope: Scope) -> Task:
    """What a RUN is in the end. Pure."""
    words, document = list(step.command.words), None
    if step.heredocs:
        words, document = _with_documents(step)
    argv = [*state.shell, " ".join(words)] if step.command.shell and document is None else words
    values = {**scope.proxies, **scope.variables}
    told = {arg.name: scope.variables.get(arg.name, arg.default or "") for arg in scope.args}
    prefix = [f"|{len(told)}", *(f"{name}={value}" for name, value in told.items())] if told else []
    return Task(
        step,
        scope.origin,
        argv,
        [f"{name}={value}" for name, value in values.items()],
        " ".join(["RUN", *prefix, *argv]),
        document,
        state.shell[0],
    )


def _with_documents(step: typed.Run) -> tuple[list[str], tuple[str, str] | None]:
    """Words of a RUN with heredocs: a document alone is the script, or a program of its own; others are for
    the shell to read.
    """
    text = " ".join(step.command.words)
    first = step.heredocs[0]
    if syntax.heredoc_of(text):
        if first.body.startswith("#!"):
            return [f"{_DOCUMENTS}/{first.name}"], (first.name, first.body)
        return [first.body], None
    return [text + "".join(f"\n{it.content}{it.name}" for it in step.heredocs)], None


async def _pass_on(sock: socket.socket, tell: Tell) -> None:
    """What comes in docker's frames, as text; until the other side has closed."""
    loop, buffer = asyncio.get_running_loop(), bytearray()
    decoders = {kind: codecs.getincrementaldecoder("utf-8")("replace") for kind in (1, 2)}
    while data := await loop.sock_recv(sock, 1 << 16):
        buffer += data
        while len(buffer) >= 8 and len(buffer) >= 8 + (size := int.from_bytes(buffer[4:8], "big")):
            if text := decoders[buffer[0]].decode(bytes(buffer[8 : 8 + size])):
                tell({"stream": text, **(STDERR if buffer[0] == 2 else {})})
            del buffer[: 8 + size]
