"""Copy-up: an empty volume gets what the image has at its mount point, once (CVE-2020-1726).

A volume that is in one container's hands only is filled beside its content directory, which then takes its
place by one rename: a kill leaves it empty or whole. ``_copy`` is deleted at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Awaitable, Callable
from errno import EEXIST, ENOENT, ENOTDIR, ENOTEMPTY
from functools import partial
from typing import NamedTuple

from onggi.archive import trees
from onggi.errors import InvalidArgument, KernelError
from onggi.kernel.failpoints import failpoint
from onggi.kernel.paths import open_beneath
from onggi.store import opening
from onggi.store.durable import sync_directory, sync_tree

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Content(NamedTuple):
    """What the image has: a directory's mode and owner, and whoever copies all of it into a descriptor; None
    if it is empty.
    """

    mode: int
    uid: int
    gid: int
    copy: Callable[[int], Awaitable[None]] | None


async def fill_whole(path: str, content: Content) -> None:
    """Fill the content directory of a volume that nobody else uses."""
    if content.copy is None:
        await fill_part(path, "", content)
        return
    if await asyncio.to_thread(os.listdir, path):
        return
    beside = f"{os.path.dirname(path)}/_copy"
    async with opening.descriptor(partial(_make, beside)) as fd:
        try:
            await content.copy(fd)
            await asyncio.to_thread(sync_tree, fd)
            failpoint("volumes.fill.before_rename")
            await asyncio.to_thread(_replace, beside, path)
        except BaseException:
            await asyncio.to_thread(trees.remove, beside)
            raise


async def fill_part(path: str, subpath: str, content: Content) -> None:
    """Fill a directory that others may see, or the ``subpath`` of one, as it lies there."""
    async with opening.descriptor(partial(_open_empty, path, subpath)) as fd:
        if fd < 0:
            return
        if content.copy is None:
            await asyncio.to_thread(_own, fd, content)
        else:
            await content.copy(fd)
            await asyncio.to_thread(sync_tree, fd)


def _make(path: str) -> int:
    trees.remove(path)
    os.mkdir(path, 0o755)
    return os.open(path, _DIRECTORY | os.O_NOFOLLOW)


def _replace(beside: str, path: str) -> None:
    """rename(2) takes the place of an empty directory only: whatever came meanwhile stays."""
    try:
        os.rename(beside, path)
    except OSError as error:
        if error.errno not in (ENOTEMPTY, EEXIST):
            raise KernelError("rename", error.errno or 0, path) from None
        trees.remove(beside)
    sync_directory(os.path.dirname(path))


def _open_empty(path: str, subpath: str) -> int:
    """A descriptor of the directory; -1 if it is absent, no directory, or not empty."""
    try:
        root = os.open(path, _DIRECTORY)
    except OSError:
        return -1  # the start will say what is wrong with it
    try:
        fd = open_beneath(root, subpath, _DIRECTORY) if subpath else os.dup(root)
    except KernelError as error:
        if error.errno in (ENOENT, ENOTDIR):
            return -1
        words = f"path concatenation escapes the base directory, subpath: {subpath}"
        raise InvalidArgument(words) from None
    finally:
        os.close(root)
    if os.listdir(fd):
        os.close(fd)
        return -1
    return fd


def _own(fd: int, content: Content) -> None:
    with contextlib.suppress(PermissionError):  # a remote file system has its own idea of owners
        os.fchown(fd, content.uid, content.gid)
        os.fchmod(fd, stat.S_IMODE(content.mode))
