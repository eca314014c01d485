"""Mounts of containers' root file systems that hang nowhere: gone when their descriptor is closed."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from onggi.containers.payload import Payloads
from onggi.store.rootfs import Rootfs

if TYPE_CHECKING:
    from onggi.containers.link import LauncherLink

Json = Any
Call = Callable[[str, str, Json], Awaitable[Json]]  # container id, verb, arguments


class Roots:
    """Made by jobs of the launcher; the closing of a descriptor may take as long as its disk needs."""

    def __init__(self, payloads: Payloads, launcher: LauncherLink, call: Call) -> None:
        self._payloads, self._launcher, self._call = payloads, launcher, call

    async def mount(
        self, rootfs: Rootfs, mounts: Sequence[Json], *, readonly: bool, directory: str = ""
    ) -> int:
        """The descriptor of a root that nobody has mounted, with OCI bind mounts in it; ``directory`` is made
        in the root where it is absent.
        """
        arguments = self._payloads.view(rootfs, mounts, readonly=readonly, directory=directory)
        return int((await self._launcher.job("view", arguments, []))["fds"][0])

    async def bare(self, container_id: str, rootfs: Rootfs) -> int:
        """The descriptor of the root of a container that runs, without what is mounted in it."""
        namespace = (await self._call(container_id, "mounts", {}))["fd"]
        try:
            targets = [overlay.target for overlay in rootfs.overlays] or ["/"]
            arguments = {"targets": targets, "mount_point": self._payloads.mount_point}
            return int((await self._launcher.job("bare_view", arguments, [namespace]))["fds"][0])
        finally:
            os.close(namespace)
