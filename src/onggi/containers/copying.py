"""``docker cp``: what a container has at a path, out as a tar and in from one.

docker's names and words; its path arithmetic is text (Go's ``path``), all that opens something is a job
inside the container's root.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import AsyncIterator
from errno import ENOENT, EROFS
from typing import Any, NamedTuple

from onggi.containers import pipes
from onggi.containers.context import Context
from onggi.containers.launching import Launcher
from onggi.containers.model import Container
from onggi.containers.views import Views
from onggi.errors import InvalidArgument, KernelError, NotFound
from onggi.times import rfc3339_or_zero

Json = Any
# os.FileMode of Go, for the bits that are not permissions.
_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


class Archive(NamedTuple):
    """docker's ``PathStat`` of a path, and what is there as a tar."""

    facts: Json
    chunks: AsyncIterator[bytes]


class Copying:
    """Copies between containers and clients."""

    def __init__(self, context: Context, views: Views, launcher: Launcher) -> None:
        self._context, self._views, self._launcher = context, views, launcher

    async def path_facts(self, ref: str, path: str) -> Json:
        """docker's ``PathStat``. Raises NotFound in docker's words."""
        container = self._context.find(ref)
        _check(path)
        async with self._views.root(container, mounts=True) as root_fd:
            return await self._look(root_fd, ref, path, path)

    async def archive(self, ref: str, path: str) -> Archive:
        """What is at a path; a link is not followed, but with ``/`` or ``/.`` behind it."""
        container = self._context.find(ref)
        _check(path)
        stream = self._archive(container, ref, path)
        facts = await anext(stream)
        self._context.publish(container, "archive-path")
        return Archive(facts, stream)

    async def extract(
        self, ref: str, path: str, chunks: AsyncIterator[bytes], *, keep_kinds: bool, as_user: bool
    ) -> None:
        """Unpack a tar, plain or compressed, into a directory of the container.

        ``keep_kinds``: a directory is replaced by a directory only, and so on; ``as_user``: everything
        belongs to the container's user.
        """
        container = self._context.find(ref)
        _check(path)
        _check_writable(container, _absolute(path))
        arguments = {
            "path": _absolute(path),
            "keep_kinds": keep_kinds,
            "owner": await self._owner(container) if as_user else None,
        }
        async with self._views.root(container, mounts=True) as root_fd:
            await self._extract(container, ref, path, arguments, root_fd, chunks)
        self._context.publish(container, "extract-to-dir")

    async def _extract(
        self, container: Container, ref: str, path: str, arguments: Json, root_fd: int, chunks: pipes.Chunks
    ) -> None:
        runtime = self._context.runtime
        try:
            await pipes.feed(chunks, lambda fd: runtime.job("copy_in", arguments, [fd, root_fd]))
        except KernelError as error:
            if error.errno == EROFS:
                raise InvalidArgument(_read_only(container)) from None
            raise _not_found(error, ref, path) from None
        except NotFound as error:
            raise _not_found(error, ref, path) from None

    async def _archive(self, container: Container, ref: str, path: str) -> AsyncIterator[Any]:
        """The facts, then pieces of the tar."""
        absolute = _absolute(path)
        async with self._views.root(container, mounts=True) as root_fd:
            facts = await self._look(root_fd, ref, path, absolute)
            yield facts
            arguments = {"path": absolute, "name": facts["name"]}
            runtime = self._context.runtime
            async with pipes.output(lambda fd: runtime.job("pack", arguments, [root_fd, fd])) as pieces:
                async for piece in pieces:
                    yield piece

    async def _look(self, root_fd: int, ref: str, asked: str, path: str) -> Json:
        try:
            found = await self._context.runtime.job("look", {"path": path}, [root_fd])
        except (KernelError, NotFound) as error:
            raise _not_found(error, ref, asked) from None
        return {
            "name": base_name(path),
            "size": found["size"],
            "mode": file_mode(found["mode"]),
            "mtime": rfc3339_or_zero(found["mtime_ns"]),
            # A name that is no text is shown as one, as by Go.
            "linkTarget": os.fsencode(found["link"]).decode("utf-8", "replace"),
        }

    async def _owner(self, container: Container) -> tuple[int, int] | None:
        user = container.spec.config.user
        if not user:
            return None
        identity = self._launcher.identity(container, await self._context.rootfs(container), user)
        return identity.uid, identity.gid


def file_mode(mode: int) -> int:
    """Go's ``os.FileMode`` of a mode of stat(2)."""
    bits = sum(go for unix, go in _BITS.items() if mode & unix)
    return (mode & 0o777) | _KINDS.get(stat.S_IFMT(mode), 0) | bits


def base_name(path: str) -> str:
    """Go's ``path.Base``."""
    return path.rstrip("/").rpartition("/")[2] or ("/" if path else ".")


def _absolute(path: str) -> str:
    """A clean absolute path that keeps the ``/`` or ``/.`` at its end: it says that a link is followed."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    ending = "/." if base_name(path) == "." else ""
    ending += "/" if path.endswith("/") else ""
    return clean + (ending[1:] if clean == "/" else ending)


def _check(path: str) -> None:
    if not path:
        raise InvalidArgument("bad parameter: pathcannot be empty")
    if "\0" in path:
        raise InvalidArgument("bad parameter: path cannot contain a NUL byte")


def _check_writable(container: Container, path: str) -> None:
    clean = posixpath.normpath(path)
    for point in container.spec.mounts:
        if clean == point.destination or clean.startswith(point.destination + "/"):
            if not point.writable:
                raise InvalidArgument("mounted volume is marked read-only")
            return
    if container.spec.host_config.readonly_rootfs:
        raise InvalidArgument("container rootfs is marked read-only")


def _read_only(container: Container) -> str:
    """docker's words, where a link led to what is read-only."""
    what = "container rootfs" if container.spec.host_config.readonly_rootfs else "mounted volume"
    return f"{what} is marked read-only"


def _not_found(error: KernelError | NotFound, ref: str, path: str) -> Exception:
    if isinstance(error, KernelError) and error.errno != ENOENT:
        return error
    return NotFound(f"Could not find the file {path} in container {ref}")
