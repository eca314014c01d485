"""What a shared cache says: which step made which layer. Pure.

The document has the form of BuildKit's (``application/vnd.buildkit.cacheconfig.v0``; in an image's
configuration ``moby.buildkit.cache.v0``), but its records are named by our keys: BuildKit reads it and finds
nothing in it that it knows, and so do we with one of BuildKit's (docs/decisions/0123).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from onggi.build.state import State
from onggi.errors import InvalidArgument
from onggi.oci import media
from onggi.oci.digest import check
from onggi.oci.manifest import Descriptor, Manifest

Json = Any
CONFIG = "application/vnd.buildkit.cacheconfig.v0"
INLINE = "moby.buildkit.cache.v0"
_MOUNT = "application/vnd.onggi.cachemount.v1.tar+gzip"
_MOUNT_NAME = "org.onggi.cachemount"  # an annotation
_MAX_RECORDS = 10_000


class Made(NamedTuple):
    """The layer that a step made, and where it is to be had."""

    diff_id: str
    blob: Descriptor


class _About(msgspec.Struct, rename={"media_type": "mediaType", "diff_id": "diffID"}):
    diff_id: str = ""
    media_type: str = ""
    size: int = 0


class _Layer(msgspec.Struct):
    blob: str
    parent: int = -1
    annotations: _About | None = None


class _Result(msgspec.Struct):
    layer: int = 0


class _Record(msgspec.Struct):
    digest: str = ""
    layers: list[_Result] = []


class _Config(msgspec.Struct):
    layers: list[_Layer] = []
    records: list[_Record] = []


def encode(steps: Mapping[str, Made]) -> tuple[bytes, list[Descriptor]]:
    """The document of steps by key, and the layers that its manifest names: the same for the same steps."""
    made = {step.blob.digest: step for _, step in sorted(steps.items())}
    numbers = {digest: number for number, digest in enumerate(made)}
    layers = [
        _Layer(it.blob.digest, -1, _About(it.diff_id, it.blob.media_type, it.blob.size))
        for it in made.values()
    ]
    records = [
        _Record(f"sha256:{key}", [_Result(numbers[step.blob.digest])]) for key, step in sorted(steps.items())
    ]
    return msgspec.json.encode(_Config(layers, records)), [it.blob for it in made.values()]


def decode(data: bytes, manifest: Manifest) -> dict[str, Made]:
    """The steps by key. Raises InvalidArgument for what is none, or names layers that are not there."""
    config = _decoded(data, _Config)
    blobs = {layer.digest: layer for layer in manifest.layers if layer.media_type in media.LAYERS}
    found: dict[str, Made] = {}
    for key, number in _pairs(config.records, len(config.layers)):
        layer = config.layers[number]
        if layer.blob not in blobs or layer.annotations is None:
            raise InvalidArgument(f"invalid cache: no layer {layer.blob[:80]!r}")
        found[key] = Made(check(layer.annotations.diff_id), blobs[layer.blob])
    return found


def mount(name: str, digest: str, size: int) -> Descriptor:
    """How a manifest names the archive of a cache mount."""
    return Descriptor(_MOUNT, digest, size, annotations={_MOUNT_NAME: name})


def mounts(manifest: Manifest) -> dict[str, Descriptor]:
    """The archives of cache mounts by name."""
    return {it.annotations.get(_MOUNT_NAME, ""): it for it in manifest.layers if it.media_type == _MOUNT}


def inline(steps: Mapping[str, Sequence[str]], layers: Sequence[str]) -> str:
    """The member of an image's configuration that tells which steps made its layers."""
    records = [
        _Record(f"sha256:{key}", [_Result(len(chain) - 1)])
        for key, chain in sorted(steps.items())
        if chain and [*chain] == [*layers[: len(chain)]]
    ]
    return base64.b64encode(msgspec.json.encode(records)).decode()


def from_inline(document: Json, diff_ids: Sequence[str], blobs: Sequence[Descriptor]) -> dict[str, Made]:
    """The steps that an image tells of by itself; none if it does not."""
    text = document.get(INLINE)
    if not isinstance(text, str):
        return {}
    try:
        records = _decoded(base64.b64decode(text, validate=True), list[_Record])
    except binascii.Error:
        raise InvalidArgument("invalid cache: no base64") from None
    return {key: Made(diff_ids[number], blobs[number]) for key, number in _pairs(records, len(diff_ids))}


def following(
    history: Sequence[Json], diff_ids: Sequence[str], state: State, told: str, *, timed: bool
) -> int | None:
    """The number of the layer that an image's history has for this very step behind this very state; with
    ``timed`` only one that was made at the same time.
    """
    ours, place = state.document["history"], len(state.layers)
    if [*diff_ids[:place]] != [*state.layers] or len(history) <= len(ours) or place >= len(diff_ids):
        return None
    if any(_line(one) != _line(other) for one, other in zip(ours, history, strict=False)):
        return None
    ahead = history[len(ours)]
    created = state.told(told).document["history"][-1]["created"]
    if _line(ahead) != (told, False) or (timed and ahead.get("created") != created):
        return None
    return place


def _line(step: Json) -> tuple[Json, bool]:
    return (step.get("created_by"), bool(step.get("empty_layer"))) if isinstance(step, dict) else (None, True)


def _pairs(records: Sequence[_Record], layers: int) -> list[tuple[str, int]]:
    """Keys, and the numbers of their layers. A record of several results or without a name is not ours."""
    found = []
    if len(records) > _MAX_RECORDS:
        raise InvalidArgument(f"invalid cache: it has {len(records)} steps, at most {_MAX_RECORDS} are read")
    for record in records:
        if len(record.layers) == 1 and record.digest:
            if not 0 <= record.layers[0].layer < layers:
                raise InvalidArgument(f"invalid cache: no layer {record.layers[0].layer}")
            found.append((check(record.digest).removeprefix("sha256:"), record.layers[0].layer))
    return found


def _decoded(data: bytes, kind: Any) -> Any:  # noqa: ANN401
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid cache: {error}") from None
