"""``docker commit``: what a container changed, and the configuration of the image it becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from onggi.containers.context import Context
from onggi.containers.merge import merge_image
from onggi.containers.request import ContainerConfig, convert
from onggi.errors import InvalidArgument
from onggi.images.committing import CommitWish
from onggi.oci import reference as references
from onggi.oci.image import Image
from onggi.oci.reference import Reference

Json = Any
# What an image's configuration has of a container's (OCI image-spec config.md, and docker's own beside it).
_OF_IMAGES = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
    "Healthcheck", "OnBuild", "Shell",
)  # fmt: skip


_NOTHING = Image("", {}, [], 0, "", [])


class CommitOptions(NamedTuple):
    """The query of POST /commit."""

    repository: str = ""
    tag: str = ""
    author: str = ""
    comment: str = ""
    changes: Sequence[str] = ()
    pause: bool = True


class Layer(Protocol):
    """What gives the tar of a container's changes."""

    async def __call__(self, ref: str, *, pause: bool = True) -> AsyncIterator[bytes]: ...


class Committing:
    """Makes images from containers."""

    def __init__(self, context: Context, layer: Layer) -> None:
        self._context, self._layer = context, layer

    async def commit(self, ref: str, body: Json, options: CommitOptions) -> str:
        """The id of the new image. Raises NotFound, Conflict, InvalidArgument or Unsupported.

        A container that runs a directory as it is has no image to build on: all of it becomes the only layer.
        """
        context = self._context
        container = context.find(ref)
        bare = container.spec.host_config.rootfs_directory
        name = _name(options)
        wish = CommitWish(
            parent=_NOTHING if bare else await context.images.get(container.spec.image_id),
            config=_config(body, container.spec.config),
            name=name,
            changes=options.changes,
            author=options.author,
            comment=options.comment,
            container_id=container.id,
        )
        image_id = await context.transfers.commit(await self._layer(container.id, pause=options.pause), wish)
        named = {"imageRef": name.familiar} if name else {}
        context.publish(container, "commit", 0, comment=options.comment, imageID=image_id, **named)
        return image_id


def _name(options: CommitOptions) -> Reference | None:
    if not options.repository:
        return None
    text = f"{options.repository}:{options.tag}" if options.tag else options.repository
    reference = references.parse(text).with_default_tag()
    if reference.digest:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    return reference


def _config(body: Json, own: ContainerConfig) -> Json:
    """The container's configuration, with what the request gives in its place, in an image's shape."""
    mine = {key: value for key, value in msgspec.to_builtins(own).items() if key in _OF_IMAGES and value}
    if not body:
        return mine
    given = convert(body, ContainerConfig)
    merge_image(given, mine)
    return {key: value for key, value in msgspec.to_builtins(given).items() if key in _OF_IMAGES and value}
