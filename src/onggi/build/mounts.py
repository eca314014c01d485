"""What RUN mounts: files of the context, of stages and images, caches, memory, and secrets."""

from __future__ import annotations

import os
import posixpath
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import msgspec

from onggi.build.agents import USUAL
from onggi.build.carrying import CacheMounts
from onggi.build.context import Place, source
from onggi.build.holders import Locks, Wish
from onggi.build.options import Options
from onggi.build.sharing import Imports
from onggi.build.state import Origin, State
from onggi.build.transfers import digest_of
from onggi.build.workshop import Tell, Workshop
from onggi.containers.mount_points import MountPoint, check_destination
from onggi.dockerfile import instructions as typed
from onggi.errors import InvalidArgument, Unsupported
from onggi.kernel.files import write_new

Json = Any


class Mounts:
    """Prepares the mounts of one build's steps."""

    def __init__(
        self, workshop: Workshop, place: Place, options: Options, locks: Locks, imports: Imports
    ) -> None:
        self._workshop, self._place, self._options = workshop, place, options
        self.caches = CacheMounts(workshop, place, locks, imports)

    async def key(self, run: typed.Run, state: State, origin: Origin) -> list[Json]:
        """What the result of a step depends on of what it mounts: never a secret, nor what is in a cache, but
        what that began with.
        """
        return [await self._key(mount, state, origin) for mount in _placed(run)]

    async def _key(self, mount: typed.Mount, state: State, origin: Origin) -> Json:
        target = destination(mount, state)
        common = [mount.kind, target, mount.source, mount.read_only]
        if mount.kind == "bind":
            if mount.origin:
                return [*common, (await origin(mount.origin)).chain]
            return [*common, await digest_of(self._workshop, self._place, mount.source or ".")]
        if mount.kind == "cache":
            self.caches.note(await self._wish(mount, target, origin), mount.sharing)
        return [
            *common,
            (await origin(mount.origin)).chain if mount.origin else None,
            mount.identity,
            mount.env,
            mount.sharing,
            mount.size,
            mount.mode,
            mount.uid,
            mount.gid,
        ]

    @asynccontextmanager
    async def points(
        self, run: typed.Run, state: State, origin: Origin, tell: Tell
    ) -> AsyncIterator[list[MountPoint]]:
        """The mount points, for the time of the step. Raises InvalidArgument, Unsupported."""
        async with AsyncExitStack() as stack:
            points = []
            for mount in _placed(run):
                target = destination(mount, state)
                if mount.kind == "cache":
                    points.append(await self._cache(mount, target, origin, stack, tell))
                    continue
                point = await self._point(mount, target, origin, stack)
                points += [point] if point else []
            yield points

    async def _point(
        self, mount: typed.Mount, target: str, origin: Origin, stack: AsyncExitStack
    ) -> MountPoint | None:
        match mount.kind:
            case "bind":
                return await self._bind(mount, target, origin, stack)
            case "tmpfs":
                size = [f"size={mount.size}"] if mount.size else []
                return MountPoint(type="tmpfs", destination=target, options=["nosuid", "nodev", *size])
            case "secret":
                return self._secret(mount, target)
            case "ssh":
                return await self._agent(mount, target, stack)
        raise Unsupported(f"RUN --mount=type={mount.kind} is not supported")

    async def _bind(
        self, mount: typed.Mount, target: str, origin: Origin, stack: AsyncExitStack
    ) -> MountPoint:
        subpath = _inside(mount.source)
        if not mount.read_only:
            return self._directory(await self._copied(mount, subpath, origin), target, "", writable=True)
        if not mount.origin:
            return self._directory(self._place.context, target, subpath, writable=False)
        state = await origin(mount.origin)
        lease = await stack.enter_async_context(self._workshop.content.lease(ttl_s=0))
        image_id = await self._workshop.keep_image(lease, state)
        return MountPoint(
            type="image", name=image_id, source=image_id, destination=target, writable=False,
            propagation="rprivate", subpath=subpath,
        )  # fmt: skip

    async def _copied(self, mount: typed.Mount, subpath: str, origin: Origin) -> str:
        """A copy of what is mounted, for a step that may write to it: gone with the build."""
        directory, state = self._place.directory(), await origin(mount.origin) if mount.origin else None
        async with source(self._workshop, self._place, state) as root_fd:
            return await self._workshop.copy(root_fd, subpath, directory)

    async def _cache(
        self, mount: typed.Mount, target: str, origin: Origin, stack: AsyncExitStack, tell: Tell
    ) -> MountPoint:
        part, wish = _inside(mount.source), await self._wish(mount, target, origin)
        first = partial(self._copied, mount, part, origin) if mount.origin else None
        path = await self.caches.open(wish, mount.sharing, first, stack, tell)
        return self._directory(path, target, "" if first else part, writable=not mount.read_only)

    async def _wish(self, mount: typed.Mount, target: str, origin: Origin) -> Wish:
        base = f"{(await origin(mount.origin)).chain}/{_inside(mount.source)}" if mount.origin else ""
        space, name = self._options.own("CACHE_MOUNT_NS"), mount.identity or target
        return Wish(f"{space}/{name}" if space else name, mount.mode, mount.uid, mount.gid, base)

    def variables(self, run: typed.Run) -> list[str]:
        """Secrets that a step has as variables; they are told to its process alone."""
        found = [f"SSH_AUTH_SOCK={it.target}" for it in _placed(run) if self._forwards(it)][:1]
        for mount in run.mounts:
            content = self._content(mount) if mount.kind == "secret" and mount.env is not None else None
            if content is not None:
                found.append(
                    f"{mount.env or secret_name(mount)}={content.decode('utf-8', 'surrogateescape')}"
                )
        if any("\0" in it for it in found):
            raise InvalidArgument("a secret with a NUL byte cannot be a variable")
        return found

    def _forwards(self, mount: typed.Mount) -> bool:
        ssh = self._options.ssh
        return mount.kind == "ssh" and ssh is not None and _agent_name(mount) in ssh.ids

    async def _agent(self, mount: typed.Mount, target: str, stack: AsyncExitStack) -> MountPoint | None:
        if not self._forwards(mount) or self._options.ssh is None:
            if mount.required:
                raise InvalidArgument(f"unset ssh forward key {_agent_name(mount)}: build with --ssh")
            return None
        directory = f"{self._place.secrets}/{uuid.uuid4().hex}"
        os.mkdir(directory, 0o700)
        served = self._workshop.agents.served(self._options.ssh.token, _agent_name(mount), directory)
        path = await stack.enter_async_context(served)
        os.chown(path, mount.uid or 0, mount.gid or 0)
        os.chmod(path, 0o600 if mount.mode is None else mount.mode & 0o777)
        return self._directory(path, target, "", writable=False)

    def _content(self, mount: typed.Mount) -> bytes | None:
        content = self._options.secrets.get(secret_name(mount))
        if content is None and mount.required:
            raise InvalidArgument(f"secret {secret_name(mount)}: not found")
        return content

    def _secret(self, mount: typed.Mount, target: str) -> MountPoint | None:
        content = self._content(mount)
        if content is None or (mount.env is not None and not mount.target):
            return None
        path = f"{self._place.secrets}/{uuid.uuid4().hex}"
        write_new(path, content, 0o400 if mount.mode is None else mount.mode & 0o777)
        os.chown(path, mount.uid or 0, mount.gid or 0)
        return self._directory(path, target, "", writable=False)

    @staticmethod
    def _directory(source: str, target: str, subpath: str, *, writable: bool) -> MountPoint:
        return MountPoint(
            type="bind", source=source, destination=target, subpath=subpath, writable=writable,
            propagation="rprivate",
        )  # fmt: skip


def destination(mount: typed.Mount, state: State) -> str:
    """Where it is mounted. Raises InvalidArgument."""
    target = mount.target
    if not target and mount.kind == "secret":
        target = "/run/secrets/" + posixpath.basename(mount.identity or mount.source)
    if not target:
        raise InvalidArgument(f"RUN --mount=type={mount.kind} needs a target")
    return check_destination(posixpath.join(state.directory, target))


def _placed(run: typed.Run) -> list[typed.Mount]:
    """The mounts of a step, agents with a place where BuildKit has them."""
    places = (f"/run/buildkit/ssh_agent.{number}" for number in count())
    return [
        msgspec.structs.replace(it, target=next(places)) if it.kind == "ssh" and not it.target else it
        for it in run.mounts
    ]


def _agent_name(mount: typed.Mount) -> str:
    return mount.identity or USUAL


def secret_name(mount: typed.Mount) -> str:
    """What a secret is called in the request."""
    return mount.identity or mount.source or posixpath.basename(mount.target)


def targets(points: Sequence[MountPoint]) -> list[str]:
    """The destinations of mount points."""
    return [point.destination for point in points]


def _inside(path: str) -> str:
    """A path below where it begins; links in it are for the kernel, which lets none lead out."""
    return posixpath.normpath(posixpath.join("/", path)).strip("/")
