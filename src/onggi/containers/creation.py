"""Create a container: request + image -> row. Files first, row second; a failure leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from onggi.containers import names, validate
from onggi.containers.context import Context
from onggi.containers.merge import command_line, complete, merge_image
from onggi.containers.model import Container, Spec, State
from onggi.containers.mount_points import MountPoint
from onggi.containers.mounting import Mounting
from onggi.containers.networking import Networking
from onggi.containers.request import CreateRequest, joined, parse_create
from onggi.containers.rootview import RootView, layers
from onggi.errors import InvalidArgument, NotFound
from onggi.kernel.failpoints import failpoint
from onggi.logs import sending
from onggi.oci import platform as platforms
from onggi.store.rootfs import Rootfs

Json = Any


class Step(NamedTuple):
    """A container that a build runs: of its image it has the files alone, and further mounts; and variables
    that are told to its process and written down nowhere.
    """

    points: Sequence[MountPoint] = ()
    variables: Sequence[str] = ()


class Creator:
    """``docker create``."""

    def __init__(self, context: Context, networking: Networking) -> None:
        self._context, self._mounting, self._networking = context, Mounting(context), networking

    async def create(
        self, name: str | None, body: Json, *, platform: str | None = None, step: Step | None = None
    ) -> tuple[str, list[str]]:
        """Create and commit a container; its id and docker's warnings."""
        with await self._context.turns.take():
            container, warnings = await self.prepare(name, body, platform=platform, step=step)
        try:
            await self.furnish(container)
            failpoint("containers.create.before_row")
            await self._context.save(container)
            failpoint("containers.create.after_row")
        except BaseException:
            await self.discard(container)
            raise
        self._context.publish(container, "create")
        return container.id, warnings

    async def prepare(
        self, name: str | None, body: Json, *, platform: str | None = None, step: Step | None = None
    ) -> tuple[Container, list[str]]:
        """Everything of ``create`` but the commit; the name is taken."""
        context = self._context
        request = parse_create(body)
        name = validate.check_name(name) if name else None
        if not request.config.image and not request.host.rootfs_directory:
            command_line(request.config)  # docker's words for a request without either
        image_id, image_config = await self._image(request, platform)
        merge_image(request.config, {} if step else image_config)
        container_id = names.new_id(context.containers.__contains__, context.runtime.prepared_id())
        complete(request, container_id, context.host.log_driver, os.uname().nodename)
        warnings = validate.check_request(request, context.host)
        command_line(request.config)
        log = request.host.log_config
        sending.check(log.type, context.host.log_options_of(log.type, log.config))
        points = await self._mounting.plan(request, step.points if step else ())
        self._join(request)
        spec = Spec(
            image=request.config.image,
            image_id=image_id,
            config=request.config,
            host_config=request.host,
            mounts=points,
            log_directory=context.directory(container_id),
            networks=self._networking.wishes_of(request),
            step=step is not None,
        )
        name = name or names.generate(context.names.__contains__)
        context.reserve(name, container_id)
        container = Container(container_id, name, time.time_ns(), spec, State())
        container.secret_variables = list(step.variables) if step else []
        try:
            context.make_directory(container_id)
        except OSError:
            context.names.pop(name)
            raise
        context.adopt(container)
        return container, warnings

    async def furnish(self, container: Container) -> None:
        """The root and the volumes of a prepared container."""
        _check_workdir(container, await self._context.rootfs(container))
        await self._mounting.furnish(container)

    async def discard(self, container: Container) -> None:
        """Undo ``prepare``; each step may already be undone."""
        context = self._context
        container.removing = True
        if not container.spec.host_config.rootfs_directory:
            await context.snapshots.remove(container.id)
        context.remove_directory(container)
        drafts = [volume.name for volume in container.volumes]
        async with self._mounting.leaving(container, drafts) as departure:
            if departure is not None:
                await asyncio.to_thread(departure.discard)  # there are no rows yet
        container.drop_attachments()
        context.drop(container)

    async def _image(self, request: CreateRequest, platform: str | None) -> tuple[str, Json]:
        """The image's id and configuration; a bare directory has neither."""
        directory = request.host.rootfs_directory
        if directory:
            if not directory.startswith("/") or not os.path.isdir(directory):
                raise InvalidArgument(f"rootfs {directory} is not a directory")
            return "", {}
        image = await self._context.images.get(request.config.image)
        _check_platform(request.config.image, image.config, platform)
        return image.id, image.config.get("config") or {}

    def _join(self, request: CreateRequest) -> None:
        """The containers whose namespaces are joined exist; modes keep their ids, as names may change.
        Whether they can be joined is for the start to say.

        With the network come the owner's names.
        """
        config, host = request.config, request.host
        for field in ("network_mode", "ipc_mode", "pid_mode"):
            if ref := joined(getattr(host, field)):
                other = self._joined(field.partition("_")[0], ref)
                setattr(host, field, f"container:{other.id}")
                if field == "network_mode":
                    owner = other.spec.config
                    config.hostname, config.domainname = owner.hostname, owner.domainname

    def _joined(self, what: str, ref: str) -> Container:
        prefix = "joining network namespace of container: " if what == "network" else ""
        try:
            return self._context.find(ref)
        except NotFound as error:  # to docker's command a 404 is an image that is not here
            raise InvalidArgument(f"{prefix}{error}") from None


def _check_workdir(container: Container, rootfs: Rootfs) -> None:
    """Raises InvalidArgument, in docker's words, if the image has something else in its place."""
    path = container.spec.config.working_dir
    inside = [point.destination for point in container.spec.mounts]
    if path in ("", "/") or any(path == place or path.startswith(place + "/") for place in inside):
        return
    with RootView(layers(rootfs)) as view:
        found = view.obstacle(path)
    if found:
        words = f"Cannot mkdir: {path} is" if found == path else f"lstat {path}:"
        raise InvalidArgument(f"{words} not a directory")


def _check_platform(ref: str, config: Json, platform: str | None) -> None:
    """Raises NotFound, in docker's words, if the image is for another system or architecture."""
    if not platform:
        return
    asked, has = platforms.parse(platform), platforms.of_config(config)
    if has.architecture and (asked.os, asked.architecture) != (has.os or "linux", has.architecture):
        platforms.require(ref, has, asked)
