"""Builds what a target needs: stages at once, the steps of each in order, each step done once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from onggi.build import changes
from onggi.build.cache import key_of
from onggi.build.carrying import CacheMounts
from onggi.build.comparing import described, differences
from onggi.build.context import Place
from onggi.build.explaining import Account, Made
from onggi.build.graph import Node, origins, stage_number
from onggi.build.holders import Locks
from onggi.build.messages import Report, Steps
from onggi.build.options import Options
from onggi.build.remote import is_remote, shown
from onggi.build.running import Runner, Scope
from onggi.build.sharing import Imports
from onggi.build.state import Done, State, from_image, from_scratch, from_stage
from onggi.build.transfers import Transfers
from onggi.build.workshop import Workshop
from onggi.dockerfile import instructions as typed
from onggi.dockerfile.parser import parse_trigger
from onggi.dockerfile.variables import StageScope, proxy_values
from onggi.errors import Conflict, InvalidArgument, NotFound, OnggiError, Unsupported
from onggi.oci import reference as references
from onggi.oci.image import Image, environment
from onggi.oci.platform import Platform, local
from onggi.store.content import Lease

Json = Any
_NAMED = 8  # files of a COPY that are told by name


class Plan(NamedTuple):
    """What a build does: the file, the stages it needs with their platforms, and what their FROMs see."""

    dockerfile: typed.Dockerfile
    nodes: Sequence[Node]
    platforms: Sequence[Platform | None]
    outside: dict[str, str]


class Known(NamedTuple):
    """What a build meets: who has which cache mount, the caches it reads, and, of what is to be explained,
    the steps of the build before, by stage.
    """

    locks: Locks
    imports: Imports
    before: Mapping[str, Sequence[Made]]


class Solver:
    """One build."""

    def __init__(
        self, workshop: Workshop, place: Place, lease: Lease, plan: Plan, asked: Options, known: Known
    ) -> None:
        self.workshop, self.place, self.lease, self.plan, self.asked = workshop, place, lease, plan, asked
        self.before, self.accounts = known.before, dict[str, Account]()
        self._cancelled = self.failed = False
        self.report = Report(plan.nodes, details=asked.details)
        self.used: dict[str, Sequence[str]] = {}  # layers of the steps that were done or found
        self.runner = Runner(workshop, place, lease, asked, known.locks, known.imports, self.used)
        self._stages: dict[int, asyncio.Task[State]] = {}
        self.scopes: dict[int, StageScope] = {}
        self.beginnings: dict[int, State] = {}
        self._images: dict[str, asyncio.Task[State]] = {}
        self.turns = asyncio.Semaphore(1 if asked.again else os.cpu_count() or 1)

    def cancel(self) -> None:
        """End the build: its client is told so."""
        self._cancelled = True
        for task in self._stages.values():
            task.cancel()

    async def run(self) -> State:
        """Build, and return what the last stage has led to. The first error ends all stages."""
        first = 1
        total = sum(len(node.stage.instructions) + 1 for node in self.plan.nodes)
        for node in self.plan.nodes:
            steps = Steps(self.report, node, first, total, details=self._label(node))
            work = _Stage(self, node, steps).run()
            self._stages[node.number] = asyncio.create_task(work)
            first += len(node.stage.instructions) + 1
        tasks = [*self._stages.values()]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if self._cancelled:
                raise Conflict("build cancelled")
            for task in done:
                task.result()
            return tasks[-1].result()
        finally:
            every = [*tasks, *self._images.values()]
            for task in every:
                task.cancel()
            await asyncio.gather(*every, return_exceptions=True)

    def _label(self, node: Node) -> str | None:
        """What a stage is called where all is told, as by BuildKit."""
        if not self.asked.details:
            return None
        alone = len(self.plan.dockerfile.stages) == 1
        name = node.stage.origin.name or ("" if alone else f"stage-{node.number}")
        return f"again {name}".rstrip() if self.asked.again else name

    @property
    def made(self) -> dict[str, list[Made]]:
        """The steps that were done so far, by stage."""
        return {stage: account.made for stage, account in self.accounts.items()}

    @property
    def caches(self) -> CacheMounts:
        """The cache mounts of its steps."""
        return self.runner.mounts.caches

    @property
    def beginning(self) -> State:
        """What the last stage begins on, once it is known."""
        return self.beginnings[self.plan.nodes[-1].number]

    async def result(self) -> State:
        """What the last stage has led to."""
        return await self.stage(self.plan.nodes[-1].number)

    async def stage(self, number: int) -> State:
        """Where another stage ends."""
        return await asyncio.shield(self._stages[number])

    async def image(self, name: str, platform: Platform | None, steps: Steps) -> State:
        """The beginning that an image is, pulled if it is not here; once for a build."""
        key = f"{name} {platform or ''}"
        if key not in self._images:
            self._images[key] = asyncio.create_task(self._image(name, platform, steps))
        return await asyncio.shield(self._images[key])

    async def _image(self, name: str, platform: Platform | None, steps: Steps) -> State:
        given = self.asked.context(name)
        if name == "scratch" and not given:
            return from_scratch(platform or local(), self.asked.epoch_s)
        if is_remote(given):
            return await self._fetched(given, platform)
        name = given.removeprefix("docker-image://") or name
        if "://" in name:
            raise Unsupported(f"build context {shown(name)}: docker-image://, git and https are supported")
        found = await self._found(name, platform, steps)
        begun = from_image(found, self.asked.epoch_s)
        if begun.chain:
            await self.lease.have_layer(begun.chain)
        # Triggers are done by the stage that begins here, and are told to it this way.
        return begun.changed(OnBuild=(found.config.get("config") or {}).get("OnBuild") or None)

    async def _found(self, name: str, platform: Platform | None, steps: Steps) -> Image:
        images = self.workshop.images
        if not self.asked.pull or name.startswith("host"):
            try:
                found = await images.get(name)
                if _fits(found, platform):
                    return found
            except NotFound:
                pass  # it is pulled
        reference = references.parse(name).with_default_tag()
        pulling = self.workshop.transfers.pull(
            reference.name,
            reference.digest or reference.tag,
            platform=str(platform or ""),
            auth=self.asked.keyring,
        )
        async with aclosing(pulling) as messages:
            async for message in messages:
                steps.output(message)
        return await images.get(name)

    async def _fetched(self, address: str, platform: Platform | None) -> State:
        """A state with nothing but what is at an address."""
        transfers = Transfers(self.workshop, self.place, self.lease, self.used)
        step = typed.Add(
            first_line=0, last_line=0, text="", keyword="ADD", sources=(address,), destination="/"
        )  # fmt: skip
        return (await transfers.add(from_scratch(platform or local(), self.asked.epoch_s), step))[0]

    async def states(self, node: Node, word: str, steps: Steps) -> State:
        """The state that a name in stage ``node`` stands for: another stage's, or an image's."""
        number = stage_number(self.plan.dockerfile, word, node.number)
        if number is not None:
            return await self.stage(number)
        return await self.image(word, self.plan.platforms[node.number], steps)


class _Stage:
    """One stage on its way."""

    def __init__(self, solver: Solver, node: Node, steps: Steps) -> None:
        self._solver, self._node, self._steps = solver, node, steps
        self._plan, self._asked = solver.plan, solver.asked
        self._no_cache = bool(forced := self._asked.uncached(node.name))
        self._transfers = Transfers(
            solver.workshop, solver.place, solver.lease, solver.used, no_cache=self._no_cache
        )
        before, instructions = solver.before, (node.stage.origin, *node.stage.instructions)
        self._account = Account(before.get(node.name), {it.text for it in instructions}, forced)
        solver.accounts[node.name] = self._account

    async def run(self) -> State:
        """Do all steps, and return where they lead; of a build's failures the first is told as such."""
        try:
            return await self._run()
        except OnggiError:
            if not self._solver.failed and self._asked.details:
                self._steps.failed()
            self._solver.failed = True
            raise

    async def _run(self) -> State:
        origin = self._node.stage.origin
        self._steps.begin(origin)
        state = await self._begun()
        triggers = [parse_trigger(text, origin) for text in state.config.get("OnBuild") or []]
        state = self._solver.beginnings[self._node.number] = from_stage(state)
        if self._node.image != "scratch":
            parts = {"below": state.chain, "document": key_of(document=state.document)}
            await self._explain(origin, parts, "", hit=False)
        await self._tell(state)
        scope = self._scope(state)
        for instruction in triggers:
            self._steps.line(f"Running trigger: {instruction.text}")
            state = await self._step(state, instruction, scope)
        for instruction in self._node.stage.instructions:
            self._steps.begin(instruction)
            state = await self._step(state, instruction, scope)
            await self._tell(state)
        self._steps.end()
        return state

    def _scope(self, state: State) -> StageScope:
        """What the first instruction sees: also the ARGs of the stage that this one begins on."""
        node, scopes = self._node, self._solver.scopes
        if node.parent is not None:
            scopes[node.number] = scopes[node.parent].child()
        else:
            variables, escape = environment(state.config), self._plan.dockerfile.escape
            scopes[node.number] = StageScope(variables, self._plan.outside, self._asked.args, escape)
        return scopes[node.number]

    async def _begun(self) -> State:
        node = self._node
        if node.parent is not None:
            return await self._solver.stage(node.parent)
        return await self._solver.image(node.image, self._plan.platforms[node.number], self._steps)

    async def _tell(self, state: State) -> None:
        image_id = await self._solver.workshop.keep_image(self._solver.lease, state)
        self._steps.done(image_id)

    async def _step(self, state: State, written: typed.Instruction, scope: StageScope) -> State:
        instruction = scope.take(written).instruction
        changed = changes.apply(state, instruction)
        if changed is not None:
            return changed
        for word in origins(written):
            await self._origin(word)  # before a turn is taken, for which that stage may be waiting
        async with self._solver.turns:
            done = await self._layer(state, instruction, scope)
        if done.cached:
            self._steps.cached()
        told = done.state.document["history"][-1]["created_by"]
        parts = done.parts or {"below": state.chain, "told": told, "time": state.time_ns}
        if len(done.state.layers) > len(state.layers):
            await self._explain(written, parts, done.state.layers[-1], hit=done.cached)
        return done.state

    async def _explain(self, written: typed.Instruction, parts: Json, layer: str, *, hit: bool) -> None:
        """Note what a step was made of and, if that is asked for, say why it was found or not."""
        if not (self._asked.line or self._asked.verify):
            return
        verdict = self._account.note(written.text, parts, layer, hit=hit)
        if not self._asked.explain:
            return
        reasons = verdict.reasons
        if verdict.compare:
            workshop, place = self._solver.workshop, self._solver.place
            before, now = verdict.compare
            found = await differences(workshop, place, before, now, limit=_NAMED, times=verdict.times)
            reasons = [*reasons, *described(found)]
        self._steps.why(verdict.hit, ", ".join(reasons))

    async def _layer(self, state: State, instruction: typed.Instruction, scope: StageScope) -> Done:
        if isinstance(instruction, typed.Workdir):
            return Done(*await self._transfers.workdir(state, instruction.path))
        if isinstance(instruction, typed.Add):
            return Done(*await self._transfers.add(state, instruction))
        if isinstance(instruction, typed.Copy):
            return Done(*await self._transfers.copy(state, instruction, self._origin))
        if isinstance(instruction, typed.Run):
            seen = Scope(scope.variables, scope.args, proxy_values(self._asked.args), self._origin)
            return await self._solver.runner.run(
                state, instruction, seen, self._steps.output, no_cache=self._no_cache
            )
        raise InvalidArgument(f"unknown instruction: {instruction.keyword}")

    async def _origin(self, word: str) -> State:
        return await self._solver.states(self._node, word, self._steps)


def _fits(image: Image, platform: Platform | None) -> bool:
    if platform is None:
        return True
    has = Platform(image.config.get("os") or "linux", image.config.get("architecture") or "")
    return (has.os, has.architecture) == (platform.os, platform.architecture)
