"""``docker commit``: an image of what a container changed, above the image it was made from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from onggi.images import changes as image_changes
from onggi.images.hostbase import MEMBER
from onggi.images.importer import finished
from onggi.images.recording import NewImage
from onggi.images.streams import Chunks
from onggi.images.tools import Tools
from onggi.kernel.failpoints import failpoint
from onggi.oci import platform as platforms
from onggi.oci.digest import chain_id
from onggi.oci.image import HOST, Image
from onggi.oci.reference import Reference
from onggi.times import rfc3339_fixed

Json = Any
_EMPTY_TAR = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


class CommitWish(NamedTuple):
    """What a commit is to become. ``config`` is the container's, in the shape of an image's ``config``."""

    parent: Image
    config: Json
    name: Reference | None = None
    changes: Sequence[str] = ()
    author: str = ""
    comment: str = ""
    container_id: str = ""


async def commit(tools: Tools, chunks: Chunks, wish: CommitWish) -> str:
    """Take in the layer's tar; returns the image's id. A bad change is told before: InvalidArgument."""
    changed = image_changes.apply(wish.config, wish.changes)
    parents = wish.parent.layers
    async with tools.content.lease(ttl_s=0) as lease:
        if parents:
            await lease.have_layer(chain_id(parents))
        async with tools.intake.from_stream(lease, chunks) as arrival:
            diff_id = arrival.layer.diff_id
            layers = parents if diff_id == _EMPTY_TAR else [*parents, diff_id]
            if layers is not parents:
                failpoint("images.commit.before_layer")
                await lease.have_layer(chain_id(layers))
                await tools.intake.record(arrival, parents)
        config = finished(_config(wish, changed, layers is parents), layers)
        base = wish.parent.base
        if base == HOST:
            config[MEMBER] = tools.seals.member(layers)
        failpoint("images.commit.before_blob")
        image_id = await lease.put(msgspec.json.encode(config))
        failpoint("images.commit.before_row")
        names = [wish.name] if wish.name else []
        new = NewImage(image_id, layers, base, names=names, parent=wish.parent.id or None)
        await tools.images.record(new)
    await tools.images.announce("create", image_id)
    for name in names:
        await tools.images.announce("tag", image_id, name.familiar)
    return image_id


def _config(wish: CommitWish, changed: Json, empty: bool) -> Json:
    before, now, here = wish.parent.config, rfc3339_fixed(time.time_ns()), platforms.local()
    command = " ".join(wish.config.get("Cmd") or [])
    about = {name: text for name, text in (("author", wish.author), ("comment", wish.comment)) if text}
    step = {
        "created": now,
        "created_by": command,
        **about,
        **({"empty_layer": True} if empty else {}),
    }
    kept = {key: before[key] for key in ("variant", "os.version", "os.features") if before.get(key)}
    return {
        "created": now,
        **about,
        "architecture": before.get("architecture") or here.architecture,
        "os": before.get("os") or here.os,
        **kept,
        "config": changed,
        "container": wish.container_id,
        "history": [*(before.get("history") or []), step],
    }
