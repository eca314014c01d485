"""``docker import``: an image of one layer from the tar of a root file system."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from onggi.errors import InvalidArgument
from onggi.images import changes as image_changes
from onggi.images.progress import Progress
from onggi.images.recording import NewImage
from onggi.images.streams import Chunks
from onggi.images.tools import Tools
from onggi.kernel.failpoints import failpoint
from onggi.oci import platform as platforms
from onggi.oci.reference import Reference
from onggi.times import rfc3339_fixed

Json = Any


class Wish(NamedTuple):
    """What an import is to become."""

    name: Reference | None
    config: Json


async def import_root(tools: Tools, chunks: Chunks, wish: Wish, progress: Progress) -> str:
    """Take in a tar: plain, gzip, zstd, xz or bzip2; returns the image's id, which is said last."""
    async with tools.content.lease(ttl_s=0) as lease:
        async with tools.intake.from_stream(lease, chunks, whole=True) as arrival:
            diff_id = arrival.layer.diff_id
            await lease.have_layer(diff_id)
            failpoint("images.import.before_layer")
            await tools.intake.record(arrival, [])
        failpoint("images.import.before_blob")
        image_id = await lease.put(msgspec.json.encode(finished(wish.config, [diff_id])))
        failpoint("images.import.before_row")
        await tools.images.record(NewImage(image_id, [diff_id], names=[wish.name] if wish.name else []))
    if wish.name:
        await tools.images.announce("tag", image_id, wish.name.familiar)
    await tools.images.announce("import", image_id)
    progress.say(image_id)
    return image_id


def config_of(changes: Sequence[str], message: str, platform: str | None) -> Json:
    """An image config without layers. Raises InvalidArgument for a bad change or a platform that is not
    linux.
    """
    wanted = platforms.parse(platform) if platform else platforms.local()
    if wanted.os != "linux":
        raise InvalidArgument("operating system is not supported")
    now = rfc3339_fixed(time.time_ns())
    variant = {"variant": wanted.variant} if platform and wanted.variant else {}
    return {
        "created": now,
        "architecture": wanted.architecture,
        **variant,
        "os": wanted.os,
        "config": image_changes.apply({}, changes),
        "history": [{"created": now, "comment": message or "Imported from -"}],
    }


def finished(config: Json, diff_ids: Sequence[str]) -> Json:
    """The config with its layers."""
    return config | {"rootfs": {"type": "layers", "diff_ids": list(diff_ids)}}
