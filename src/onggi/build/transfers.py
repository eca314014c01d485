"""COPY, ADD and WORKDIR: layers that a confined job writes, known by what is in them.

The layer is written to a file without a name first. Its digest tells whether it is there already, above the
layers below; only if not is it kept and unpacked.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import posixpath
import stat
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from onggi.archive import gather, modes
from onggi.build import context, remote
from onggi.build.cache import key_of
from onggi.build.context import Place, begins_as_tar
from onggi.build.state import Origin, State
from onggi.build.workshop import Workshop
from onggi.containers import pipes
from onggi.containers.exporting import trees_of
from onggi.containers.rootview import RootView
from onggi.containers.users import resolve
from onggi.dockerfile import effects
from onggi.dockerfile import instructions as typed
from onggi.errors import InvalidArgument, NotFound, Unsupported
from onggi.images.streams import of_file
from onggi.kernel import files, paths
from onggi.oci.digest import chain_id
from onggi.oci.image import HOST
from onggi.store.content import Lease

Json = Any
_MAX_KNOWN = 1000


class Transfers:
    """The steps of one build that bring files."""

    def __init__(
        self,
        workshop: Workshop,
        place: Place,
        lease: Lease,
        used: dict[str, Sequence[str]],
        *,
        no_cache: bool = False,
    ) -> None:
        self._workshop, self._place, self._lease, self._no_cache = workshop, place, lease, no_cache
        self._used = used

    async def workdir(self, state: State, path: str) -> tuple[State, bool]:
        """The state behind WORKDIR, whose directory is made, and whether its layer was here."""
        found = effects.workdir(state.config, path)
        state = state.changed(WorkingDir=found)
        if found == "/":
            return state.told("WORKDIR /"), True
        owner = await self._owner(state, state.config.get("User") or "")
        wish = _wish(found, owner=owner, make=True, time_ns=state.time_ns)
        diff_id, cached = await self._layer(state, wish, None, f"WORKDIR {found}")
        return state.told(f"WORKDIR {found}", diff_id, empty=False), cached

    async def copy(self, state: State, step: typed.Transfer, origin: Origin) -> tuple[State, bool]:
        """The state behind COPY or ADD, and whether its layer was here."""
        told = f"{describe(step)} # buildkit"
        source = step.origin if isinstance(step, typed.Copy) else ""
        owner = await self._owner(state, step.chown) if step.chown else None
        wish = _transfer_wish(state, step, owner or (None if source else (0, 0)))
        wish |= {"sources": list(step.sources), "parents": isinstance(step, typed.Copy) and step.parents}
        diff_id, cached = await self._layer(state, wish, await origin(source) if source else None, told)
        return state.told(told, diff_id, empty=False), cached

    async def add(self, state: State, step: typed.Add) -> tuple[State, bool]:
        """The state behind ADD: what is fetched, files of the context, and archives, which are unpacked."""
        fetched = [source for source in step.sources if remote.is_remote(source)]
        if step.checksum and (len(fetched) != 1 or len(step.sources) != 1):
            raise InvalidArgument("checksum requires exactly one HTTP(S) or git source")
        owner = await self._owner(state, step.chown) if step.chown else None
        async with AsyncExitStack() as stack:
            found = [await remote.fetch(self._place, step, source) for source in fetched]
            local = [source for source in step.sources if source not in fetched]
            archives = await asyncio.to_thread(self._archives, local, found, step.unpack)
            for fd in archives.values():
                stack.callback(os.close, fd)
            wish = _transfer_wish(state, step, owner or (0, 0))
            plain = [it for it in local if it not in archives]
            parts = [await self._part(state, wish | {"sources": plain}, self._place.context, stack)]
            parts = parts if plain or step.files else []
            for it in found:
                if it.name not in archives:
                    more = wish | {"sources": [it.name], "files": []}
                    parts.append(await self._part(state, more, it.directory, stack))
            told = f"{describe(step)} # buildkit"
            if len(parts) == 1 and not archives:
                diff_id, cached = await self._keep(state, parts[0], told)
            else:
                place = destination(state, step.destination)
                fd = await self._merged(state, parts, [*archives.values()], place, owner, stack)
                diff_id, cached = await self._keep(state, fd, told)
        return state.told(told, diff_id, empty=False), cached

    async def _part(self, state: State, wish: Json, directory: str, stack: AsyncExitStack) -> int:
        """A file with the layer of a copy from a directory of this build."""
        fd = stack.enter_context(self._place.scratch())
        if wish["sources"] or wish["files"]:
            with files.directory(directory) as root_fd:
                await self._gather(state, wish, root_fd, fd)
        return fd

    async def _merged(
        self,
        state: State,
        parts: Sequence[int],
        archives: Sequence[int],
        place: str,
        owner: tuple[int, int] | None,
        stack: AsyncExitStack,
    ) -> int:
        """A file with the layer of several: made in a root of its own, as a container would."""
        fd = stack.enter_context(self._place.scratch())
        async with self._workshop.rootfs(state) as rootfs:
            if rootfs.kind == "directory":
                raise Unsupported(
                    "ADD of archives needs overlays, which the storage driver copy does without"
                )
            async with self._workshop.root(rootfs, readonly=False) as root_fd:
                for part in parts:
                    await self._unpack(part, "/", root_fd, None)
                for archive in archives:
                    await asyncio.to_thread(lambda: os.close(paths.make_dirs_in(root_fd, place)))
                    await self._unpack(archive, place, root_fd, owner)
            changed = {"trees": trees_of(rootfs), "latest_ns": state.time_ns}
            await self._workshop.job("pack_layer", changed, [fd])
        return fd

    async def _unpack(self, fd: int, place: str, root_fd: int, owner: tuple[int, int] | None) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        arguments = {"path": place, "keep_kinds": False, "owner": owner}
        await pipes.feed(of_file(fd), lambda pipe: self._workshop.job("copy_in", arguments, [pipe, root_fd]))

    def _archives(
        self, sources: Sequence[str], found: Sequence[remote.Fetched], unpack: bool | None
    ) -> dict[str, int]:
        """Descriptors of sources that are archives: of the context's unless they are to stay, of what was
        fetched only if they are to be unpacked.
        """
        result: dict[str, int] = {}
        roots = [(self._place.context, source) for source in sources] if unpack is not False else []
        roots += [(it.directory, it.name) for it in found] if unpack else []
        for directory, source in roots:
            fd = _open_archive(directory, source)
            if fd >= 0:
                result[source] = fd
        return result

    # -- layers --------------------------------------------------------------------------------------------

    async def _layer(
        self, state: State, wish: Json, source: State | None, description: str
    ) -> tuple[str, bool]:
        key, known = self._key(state, wish, source), self._workshop.copies
        if key in known and not self._no_cache and await self._found(state, known[key]):
            return known[key], True
        async with context.source(self._workshop, self._place, source) as root_fd:
            if source is None and self._place.is_new(wish["sources"]):
                diff_id, cached = await self._streamed(state, wish, root_fd, description)
            else:
                diff_id, cached = await self._written(state, wish, root_fd, description)
        if key:
            known[key] = diff_id
            while len(known) > _MAX_KNOWN:
                del known[next(iter(known))]
        return diff_id, cached

    async def _written(self, state: State, wish: Json, root_fd: int, description: str) -> tuple[str, bool]:
        """Write the layer to a file, then look whether it is here: it mostly is."""
        with self._place.scratch() as fd:
            await self._gather(state, wish, root_fd, fd)
            return await self._keep(state, fd, description)

    async def _streamed(self, state: State, wish: Json, root_fd: int, description: str) -> tuple[str, bool]:
        """Take the layer in while it is written: of files that nobody has seen before."""
        async with pipes.output(lambda fd: self._gather(state, wish, root_fd, fd)) as pieces:
            diff_id, here = await self._workshop.take_layer(self._lease, pieces, state.layers)
        layers = [*state.layers, diff_id]
        await self._found(state, diff_id)
        if not here:
            await self._workshop.cache.keep(_known_by(layers), layers, description)
        return diff_id, here and not self._no_cache

    def _key(self, state: State, wish: Json, source: State | None) -> str:
        """What a layer is known by without being made; empty where files may change without a trace."""
        if source is not None:
            content = "" if source.base == HOST else source.chain
        else:
            content = self._place.content if wish["sources"] else "none"
        return key_of(below=state.chain, wish=wish, content=content) if content and state.base != HOST else ""

    async def _found(self, state: State, diff_id: str) -> bool:
        layers = [*state.layers, diff_id]
        self._used[_known_by(layers)] = ()
        return await self._lease.have_layer(chain_id(layers))

    async def _gather(self, state: State, wish: Json, root_fd: int, fd: int) -> None:
        arguments = wish | {"lowers": await self._workshop.directories(state)}
        try:
            await self._workshop.job("gather", arguments, [root_fd, fd])
        except NotFound as error:
            raise _not_found(str(error)) from None

    async def _keep(self, state: State, fd: int, description: str) -> tuple[str, bool]:
        """The layer in a file: found, or taken in; its diff id."""
        diff_id = await asyncio.to_thread(_digest, fd)
        if await self._found(state, diff_id) and not self._no_cache:
            return diff_id, True
        layers = [*state.layers, diff_id]
        os.lseek(fd, 0, os.SEEK_SET)
        await self._workshop.keep_layer(self._lease, of_file(fd), state.layers)
        await self._workshop.cache.keep(_known_by(layers), layers, description)
        return diff_id, False

    async def _owner(self, state: State, text: str) -> tuple[int, int]:
        """Who a ``user[:group]`` is in the image that is made."""
        user, colon, _ = text.partition(":")
        if user.isdigit() and not colon:
            text = f"{user}:{user}"
        directories = await self._workshop.directories(state)
        return await asyncio.to_thread(_identity, directories, text)


def describe(step: typed.Transfer) -> str:
    """A step as its history tells it."""
    flags = [f"--{name}={value}" for name, value in (("chown", step.chown), ("chmod", step.chmod)) if value]
    if isinstance(step, typed.Copy) and step.parents:
        flags.append("--parents")
    sources = [remote.shown(it) if remote.is_remote(it) else it for it in step.sources]
    words = [*sources, *(f"<<{file.name}" for file in step.files), step.destination]
    return " ".join(["COPY" if isinstance(step, typed.Copy) else "ADD", *flags, *words])


def destination(state: State, path: str) -> str:
    """Where a copy goes; a trailing slash is kept, as it means a directory."""
    found = posixpath.join(state.directory, path)
    return found + "/" if path in (".", "") and not found.endswith("/") else found


async def digest_of(workshop: Workshop, place: Place, source: str) -> str:
    """The digest of files in the context, whatever their times and owners. Raises InvalidArgument."""
    wish = _wish("/found/", sources=[source], owner=(0, 0)) | {"lowers": []}
    with place.scratch() as fd, place.opened() as root_fd:
        try:
            await workshop.job("gather", wish, [root_fd, fd])
        except NotFound as error:
            raise _not_found(str(error)) from None
        return await asyncio.to_thread(_digest, fd)


def _wish(place: str, **given: Json) -> Json:
    """Arguments of the job ``gather``."""
    usual: Json = {"sources": [], "files": [], "owner": None, "mode": "", "time_ns": 0, "exclude": []}
    return usual | {"destination": place, "parents": False, "make": False} | given


def _transfer_wish(state: State, step: typed.Transfer, owner: tuple[int, int] | None) -> Json:
    """What COPY and ADD wish alike; ADD has sources of several kinds."""
    return _wish(
        destination(state, step.destination),
        files=[(file.name, file.body) for file in step.files],
        owner=owner,
        mode=_checked(step.chmod),
        time_ns=state.time_ns,
        exclude=list(step.exclude),
    )


def _checked(mode: str) -> str:
    """A mode as written. Raises InvalidArgument."""
    if mode:
        modes.parse(mode)
    return mode


def _identity(directories: Sequence[str], text: str) -> tuple[int, int]:
    with RootView(list(directories)) as view:
        found = resolve(text, view.read("etc/passwd") or b"", view.read("etc/group") or b"", [])
    return found.uid, found.gid


def _known_by(layers: Sequence[str]) -> str:
    """The key of a layer that is found by what is in it."""
    return chain_id(layers).removeprefix("sha256:")


def _digest(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", closefd=False) as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _open_archive(directory: str, source: str) -> int:
    """The descriptor of a source that is a tar, plain or compressed; -1 for all else."""
    try:
        with files.directory(directory) as root_fd:
            matches = gather.find(root_fd, os.fsencode(source))
            if len(matches) != 1 or matches[0].is_directory:
                return -1
            path = os.fsdecode(matches[0].path)
            fd = paths.open_in(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except NotFound as error:
        raise _not_found(str(error)) from None
    if stat.S_ISREG(os.fstat(fd).st_mode) and begins_as_tar(os.pread(fd, 1 << 16, 0)):
        return fd
    os.close(fd)
    return -1


def _not_found(path: str) -> InvalidArgument:
    return InvalidArgument(
        "COPY failed: file not found in build context or excluded by .dockerignore: "
        f"stat {path.lstrip('/')}: file does not exist"
    )
