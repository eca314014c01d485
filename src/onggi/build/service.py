"""The builder that the API calls."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import Any
from uuid import uuid4

import msgspec

from onggi.build import (
    cachefile,
    changes,
    context,
    exporting,
    graph,
    keeping,
    records,
    remote,
    repositories,
    sharing,
    tidying,
    verifying,
)
from onggi.build.checking import check, is_wanted, with_excerpt
from onggi.build.context import Place
from onggi.build.holders import Locks
from onggi.build.housekeeping import Housekeeping, Used
from onggi.build.options import Kept, Options, refuse
from onggi.build.policy import Policy, Rule
from onggi.build.solving import Known, Plan, Solver
from onggi.build.squashing import squashed
from onggi.build.state import State
from onggi.build.workshop import Workshop
from onggi.containers.options import Hijack
from onggi.dockerfile import instructions as typed
from onggi.dockerfile import variables
from onggi.dockerfile.failure import DockerfileError
from onggi.dockerfile.parser import parse
from onggi.dockerfile.variables import Platforms
from onggi.errors import InvalidArgument, OnggiError
from onggi.images.progress import Messages
from onggi.images.streams import Chunks
from onggi.oci import platform as platforms
from onggi.oci.digest import short
from onggi.oci.reference import Reference
from onggi.store.content import Lease

Json = Any


class Builder:
    """Builds of one engine."""

    def __init__(self, workshop: Workshop, policy: Policy) -> None:
        self._workshop, self._locks = workshop, Locks()
        self._house = Housekeeping(workshop, self._locks, policy, self._used)
        self._solvers: set[Solver] = set()
        self._kept: set[str] = set()  # contexts in use
        self._contents: dict[str, str] = {}  # by contexts that stay: a name of what is in them

    async def recover(self) -> None:
        """At start: remove what builds left that ended with the last engine."""
        await asyncio.to_thread(context.recover, self._workshop)
        await asyncio.to_thread(self._house.recover)
        containers = self._workshop.containers
        for container in [*containers.context.containers.values()]:
            if container.spec.step:
                await containers.remove(container.id, force=True, volumes=True, link=False)

    async def build(self, chunks: Chunks, asked: Options) -> Messages:
        """docker's messages of a build; before the first the context is here and the file was understood.

        Raises what the file, the context or a step earns. Who leaves ends the build.
        """
        names = [self._workshop.images.new_reference(tag) for tag in asked.tags]
        sharing.check(asked)
        refuse(asked)
        async with self._place(asked) as place, AsyncExitStack() as stack:
            if asked.ssh:
                agents = self._workshop.agents
                stack.enter_context(agents.open(asked.ssh.token))
                place = await stack.enter_async_context(repositories.with_agent(agents, place, asked.ssh))
            before = self._contents.pop(asked.kept.id, "") if asked.kept and place.kept else ""
            text, changed = await self._received(place, chunks, asked)
            await asyncio.to_thread(tidying.tidy, place, asked)
            if asked.kept:
                stays = await self._staying(place, asked.kept, "" if changed else before)
                yield {"aux": {"Context": asked.kept.next if stays else ""}}
                place = stays or place
            try:
                # In a thread: a large file takes seconds.
                dockerfile = await asyncio.to_thread(parse, text, asked.shown_name)
                plan = plan_of(dockerfile, asked)
                async with aclosing(self._made(place, plan, asked, names)) as messages:
                    async for message in messages:
                        yield message
            except DockerfileError as error:
                raise with_excerpt(error, text, asked) from None

    def _place(self, asked: Options) -> AbstractAsyncContextManager[Place]:
        if asked.kept:
            return keeping.place(self._workshop, self._kept, asked.kept)
        return context.place(self._workshop)

    async def _staying(self, place: Place, kept: Kept, content: str) -> Place | None:
        """The place of a context that stays, and what is in it by a name: ``content`` if nothing came and
        nothing was removed. None if it does not stay.
        """
        if not await asyncio.to_thread(keeping.keep, place, kept):
            return None
        same = content and kept.previous and not kept.removed
        self._contents[kept.id] = content if same else uuid4().hex
        return msgspec.structs.replace(
            place, content=self._contents[kept.id], touched=frozenset(kept.touched)
        )

    async def _made(self, place: Place, plan: Plan, asked: Options, names: Sequence[Reference]) -> Messages:
        if is_wanted(plan, asked):
            ignored = await asyncio.to_thread(tidying.ignored, place, asked.dockerfile)
            for message in await check(plan, asked, ignored, self._workshop.images):
                yield message
        if asked.check:
            return
        async with aclosing(self._solved(place, plan, asked, names)) as messages:
            async for message in messages:
                yield message

    async def _solved(self, place: Place, plan: Plan, asked: Options, names: Sequence[Reference]) -> Messages:
        async with self._workshop.content.lease(ttl_s=0) as lease, AsyncExitStack() as stack:
            database = self._workshop.content.database
            before = await records.load(database, asked.line) if asked.explain else {}
            imports = sharing.Imports(self._workshop, lease, asked, stack)
            for wanted in asked.cache_from:
                told = await imports.open(wanted)
                if not asked.quiet:
                    yield {"stream": told}
            known = Known(self._locks, imports, before)
            solver = Solver(self._workshop, place, lease, plan, asked, known)
            try:
                async with aclosing(self._followed(solver)) as messages:
                    async for message in messages:
                        yield message
                state = await self._final(place, lease, solver, solver)
                image_id = await self._workshop.keep_image(lease, state, names)
            finally:
                if asked.line:
                    await records.save(database, asked.line, solver.made)
            async for message in self._shared(lease, asked, solver, state):
                yield message
            for message in await self._ended(plan, asked, image_id, names):
                yield message
            if asked.verify:
                async with aclosing(self._verified(place, lease, solver, image_id)) as messages:
                    async for message in messages:
                        yield message

    async def _verified(self, place: Place, lease: Lease, first: Solver, image_id: str) -> Messages:
        """The messages of a second build, and what it tells about the first."""
        asked, workshop = verifying.again(first.asked), self._workshop
        async with verifying.moved(workshop, place) as other, AsyncExitStack() as stack:
            known = Known(self._locks, sharing.Imports(workshop, lease, asked, stack), {})
            second = Solver(workshop, other, lease, first.plan, asked, known)
            async with aclosing(self._followed(second)) as messages:
                async for message in messages:
                    yield message
            state = await self._final(other, lease, second, first)
            images = (image_id, await workshop.keep_image(lease, state))
            found = await verifying.verdict(workshop, other, images, [first.made, second.made])
        yield {"aux": {"Verify": found}}

    async def _final(self, place: Place, lease: Lease, solver: Solver, first: Solver) -> State:
        """Where a build leads that was followed to its end, with what the image tells of the cache of the
        ``first`` if that is asked for.
        """
        state, asked = await solver.result(), solver.asked
        if asked.squash:
            state = await squashed(self._workshop, place, lease, solver.beginning, state)
        state = changes.with_labels(state, asked.labels)
        if asked.inline:
            state = state.member(cachefile.INLINE, cachefile.inline(first.used, state.layers))
        return state

    async def _followed(self, solver: Solver) -> Messages:
        """The messages of a build, unless nobody wants them. Who leaves ends it."""
        self._solvers.add(solver)
        task = asyncio.create_task(solver.run())
        try:
            async with aclosing(solver.report.follow(task)) as messages:
                async for message in messages:
                    if not solver.asked.quiet:
                        yield message
        finally:
            task.cancel()
            await asyncio.wait([task])
            self._solvers.discard(solver)
            self._house.after_build(solver.used)

    async def _shared(self, lease: Lease, asked: Options, solver: Solver, state: State) -> Messages:
        """Write the caches that are asked for."""
        for wanted in asked.cache_to:
            if wanted.type == "inline":
                continue
            steps = sharing.chosen_steps(solver.used, state.layers, wanted.mode)
            try:
                mounts = await solver.caches.pack(lease) if wanted.mounts else []
                told = await sharing.export(self._workshop, lease, asked, wanted, steps, mounts)
            except OnggiError as error:
                if not wanted.ignore_error:
                    raise
                told = f"[Warning] the cache {wanted.name} was not written: {error}\n"
            if not asked.quiet:
                yield {"stream": told}

    async def _ended(
        self, plan: Plan, asked: Options, image_id: str, names: Sequence[Reference]
    ) -> list[Json]:
        await self._workshop.images.announce("create", image_id)
        for name in names:
            await self._workshop.images.announce("tag", image_id, name.familiar)
        if asked.quiet:
            return [{"stream": f"{image_id}\n"}]
        unused = variables.unused_build_args(plan.dockerfile, asked.args)
        warning = f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n"
        return [
            {"aux": {"ID": image_id}},
            *([{"stream": warning}] if unused else []),
            {"stream": f"Successfully built {short(image_id)}\n"},
            *({"stream": f"Successfully tagged {name.familiar}\n"} for name in names),
        ]

    async def _received(self, place: Place, chunks: Chunks, asked: Options) -> tuple[bytes, int]:
        """The Dockerfile, once the context is here, and how many members came. Raises InvalidArgument."""
        changed = 0
        if not asked.remote:
            changed = await context.receive(self._workshop, place, chunks)
        elif text := await self._remote(place, asked):
            return text, 0
        found = await asyncio.to_thread(place.read, asked.dockerfile)
        if found is None and asked.dockerfile == "Dockerfile":
            found = await asyncio.to_thread(place.read, "dockerfile")
        if found is None:
            raise InvalidArgument(f"Cannot locate specified Dockerfile: {asked.dockerfile}")
        return found, changed

    async def _remote(self, place: Place, asked: Options) -> bytes:
        """Unpack what an address has as the context; or the Dockerfile itself, if it is one."""
        url = asked.remote
        if repositories.is_git(url):
            keep = asked.on("CONTEXT_KEEP_GIT_DIR")
            found = await repositories.clone(place, url, keep_git_dir=keep)
            await context.receive_directory(self._workshop, place, found.directory, found.subdirectory)
            return b""
        if not url.startswith(("http://", "https://")):
            raise InvalidArgument(
                f"invalid remote context {remote.shown(url)!r}: expected an http or git address"
            )
        file = await remote.download(place, url)
        fd = os.open(f"{file.directory}/{file.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return await context.unpack_file(self._workshop, place, fd)
        finally:
            os.close(fd)

    async def files(self, name: str) -> Chunks:
        """The files of an image as a tar. Raises NotFound, Unsupported."""
        return await exporting.files(self._workshop, name)

    async def forward(self, token: str, hijack: Hijack) -> None:
        """Let a connection to a client's ssh agent wait for its build. Raises NotFound, Conflict."""
        await self._workshop.agents.wait(token, hijack)

    def cancel(self, build_id: str) -> bool:
        """End a build that is known by this id; False if there is none."""
        found = [solver for solver in self._solvers if solver.asked.build_id == build_id]
        for solver in found:
            solver.cancel()
        return bool(found)

    async def close(self) -> None:
        """End what is done beside builds."""
        await self._house.close()

    async def usage(self) -> list[Json]:
        """docker's BuildCache records."""
        return await self._house.records()

    async def prune(self, rule: Rule) -> Json:
        """docker's ``{"CachesDeleted", "SpaceReclaimed"}``. Raises InvalidArgument."""
        keys, freed = await self._house.prune(rule)
        return {"CachesDeleted": keys or None, "SpaceReclaimed": freed}

    def _used(self) -> Used:
        containers = self._workshop.containers.context.containers.values()
        return Used(
            {key for solver in self._solvers for key in solver.used},
            {*self._kept},
            {it.spec.image_id for it in containers},
        )


def plan_of(dockerfile: typed.Dockerfile, asked: Options) -> Plan:
    """What is to be built. Raises DockerfileError, InvalidArgument."""
    here = platforms.local()
    target = platforms.parse(asked.platform) if asked.platform else here
    outside = variables.global_values(dockerfile, asked.args, Platforms(here, target), asked.target)
    bases = [variables.base_of(stage.origin, outside, dockerfile.escape) for stage in dockerfile.stages]
    wanted = target if asked.platform else None
    nodes = graph.plan(
        dockerfile, [base.name for base in bases], asked.target, lambda it: it and asked.context(it)
    )
    return Plan(dockerfile, nodes, [base.platform or wanted for base in bases], outside)
