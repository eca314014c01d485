"""Caches that builds share: read by --cache-from, written by --cache-to.

Whoever names a cache trusts it for the steps that it has keys of, and for nothing else: what comes of it is
verified, stays out of this machine's own cache of steps, and fails no build (docs/decisions/0123).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from onggi.build import cachefile
from onggi.build.cachefile import Made
from onggi.build.options import Options, Shared
from onggi.build.state import State
from onggi.build.workshop import Workshop
from onggi.errors import InvalidArgument, NotFound, OnggiError, Unsupported
from onggi.images import layouts
from onggi.images.artifacts import Artifact
from onggi.images.manifests import made
from onggi.images.progress import Progress
from onggi.images.recording import kept_blobs, parse_config
from onggi.images.saving import Chosen
from onggi.kernel.failpoints import failpoint
from onggi.oci import media
from onggi.oci import reference as references
from onggi.oci.digest import chain_id
from onggi.oci.image import Image
from onggi.oci.manifest import Descriptor, Manifest, check_image
from onggi.oci.reference import Reference
from onggi.registry.credentials import Keyring
from onggi.store.content import Lease

Json = Any
_NONE = Descriptor("", "", 0)  # of a layer that is here


class _Source(NamedTuple):
    """What one cache has: steps by key, an image's own layers, and cache mounts by name; ``artifact`` brings
    what is not here.
    """

    steps: dict[str, Made]
    history: Sequence[Json] = ()
    layers: Sequence[str] = ()
    blobs: Sequence[Descriptor] = ()
    artifact: Artifact | None = None
    mounts: Mapping[str, Descriptor] = {}


class Carried(NamedTuple):
    """A cache mount in a cache: its archive, and who brings it."""

    blob: Descriptor
    artifact: Artifact


class Imports:
    """The caches that one build was told to use."""

    def __init__(self, workshop: Workshop, lease: Lease, asked: Options, stack: AsyncExitStack) -> None:
        self._workshop, self._lease, self._asked, self._stack = workshop, lease, asked, stack
        self._sources: list[_Source] = []

    async def open(self, wanted: Shared) -> str:
        """Look what a cache has; returns what is to be told of it."""
        try:
            self._sources.append(await self._open(wanted))
        except OnggiError as error:
            return f"[Warning] cache {wanted.name} is not used: {error}\n"
        return f"Using the cache {wanted.name}\n"

    async def _open(self, wanted: Shared) -> _Source:
        artifacts = self._workshop.transfers.artifacts
        if wanted.type == "local":
            found = await artifacts.layout(wanted.path, wanted.ref, self._lease)
            return await self._read(found)
        try:
            return _of_image(await self._workshop.images.get(wanted.ref))
        except NotFound:
            if wanted.type == "image":
                raise
        reference, keyring = _place(self._asked, wanted)
        remote = artifacts.remote(reference, keyring, self._lease)
        return await self._read(await self._stack.enter_async_context(remote))

    async def _read(self, found: Artifact) -> _Source:
        manifest = found.manifest
        if manifest.config.media_type == cachefile.CONFIG:
            steps = cachefile.decode(await found.config(), manifest)
            return _Source(steps, artifact=found, mounts=cachefile.mounts(manifest))
        check_image(manifest)
        config = parse_config(await found.config())
        if len(config.diff_ids) != len(manifest.layers):
            raise InvalidArgument("invalid cache: the image has other layers than its manifest")
        steps = cachefile.from_inline(config.document, config.diff_ids, manifest.layers)
        history = _history(config.document)
        return _Source(steps, history, config.diff_ids, manifest.layers, found)

    async def find(self, key: str, state: State, told: str, *, plain: bool) -> tuple[str, str]:
        """The diff id of a step's layer, which is here and held then, and a warning; both may be empty.

        ``plain``: the step depends on nothing that a history does not tell.
        """
        warning = ""
        for source in self._sources:
            step = source.steps.get(key) or (self._following(source, state, told) if plain else None)
            if step is None:
                continue
            try:
                await self._bring(source, step, [*state.layers, step.diff_id])
                return step.diff_id, ""
            except OnggiError as error:
                source.steps.pop(key, None)
                warning = f"[Warning] a layer of a cache is not used: {error}\n"
        return "", warning

    def mount(self, name: str) -> Carried | None:
        """The first archive of a cache mount of this name."""
        found = ((it.mounts.get(name), it.artifact) for it in self._sources)
        return next((Carried(blob, artifact) for blob, artifact in found if blob and artifact), None)

    def _following(self, source: _Source, state: State, told: str) -> Made | None:
        timed = self._asked.epoch_s is not None
        number = cachefile.following(source.history, source.layers, state, told, timed=timed)
        return None if number is None else Made(source.layers[number], source.blobs[number])

    async def _bring(self, source: _Source, step: Made, layers: Sequence[str]) -> None:
        if await self._lease.have_layer(chain_id(layers)):
            return
        if source.artifact is None:
            raise NotFound(f"layer {step.diff_id} is not here any more")
        await source.artifact.layer(step.blob, layers)
        failpoint("build.import.layer")
        await self._lease.have_layer(chain_id(layers))


async def export(
    workshop: Workshop,
    lease: Lease,
    asked: Options,
    wanted: Shared,
    steps: Mapping[str, Sequence[str]],
    mounts: Sequence[Descriptor] = (),
) -> str:
    """Write a cache of steps (their layers by key) and of archives; returns what is to be told of it."""
    diff_ids = {key: layers[-1] for key, layers in steps.items()}
    kept = await workshop.content.database.run(lambda it: kept_blobs(it, [*diff_ids.values()]))
    blobs = [Descriptor(media_type, digest, size) for digest, media_type, size in kept]
    for blob in blobs:
        await lease.have_blob(blob.digest)
    found = {key: Made(diff_id, blob) for (key, diff_id), blob in zip(diff_ids.items(), blobs, strict=True)}
    data, layers = cachefile.encode(found)
    config = Descriptor(cachefile.CONFIG, await lease.put(data), len(data))
    document = made(Manifest(media.OCI_MANIFEST, config, [*layers, *mounts]))
    failpoint("build.export.before_manifest")
    if wanted.type == "local":
        image = Image(config.digest, {}, [], 0, "", [])
        chosen = Chosen(image, document, [])
        tag = wanted.ref or "latest"
        await workshop.transfers.work(
            lambda: layouts.write(workshop.content, chosen, wanted.path, tag, Progress())
        )
    else:
        reference, keyring = _place(asked, wanted)
        await workshop.transfers.artifacts.push(document, reference, keyring)
    also = f" and {len(mounts)} cache mounts" if mounts else ""
    return f"Wrote {len(found)} steps{also} to the cache {wanted.name}: {document.digest}\n"


def chosen_steps(
    steps: Mapping[str, Sequence[str]], layers: Sequence[str], mode: str
) -> dict[str, Sequence[str]]:
    """The steps of a build that a cache has: all that made layers, or (``min``) those of the image."""
    return {
        key: chain
        for key, chain in steps.items()
        if chain and (mode == "max" or [*chain] == [*layers[: len(chain)]])
    }


def check(asked: Options) -> None:
    """Refuse what is asked of caches and not done. Raises Unsupported, InvalidArgument."""
    for wanted in (*asked.cache_from, *asked.cache_to):
        if wanted.type not in ("registry", "local", "inline", "image"):
            raise Unsupported(f"cache type {wanted.type} is not supported: use registry, local or inline")
        if wanted.type == "local" and not wanted.path.startswith("/"):
            raise InvalidArgument(f"invalid cache {wanted.path!r}: an absolute path is needed")
        if wanted.type in ("registry", "image"):
            references.parse(wanted.ref)
        if wanted.mounts and wanted.type not in ("local", "registry"):
            raise InvalidArgument(f"a cache of type {wanted.type} has no contents of cache mounts")
        if wanted.mode not in ("min", "max"):
            raise InvalidArgument(f"invalid cache mode {wanted.mode!r}: min or max")


def _of_image(image: Image) -> _Source:
    here = [_NONE] * len(image.layers)
    steps = cachefile.from_inline(image.config, image.layers, here)
    return _Source(steps, _history(image.config), image.layers, here)


def _history(document: Json) -> list[Json]:
    history = document.get("history")
    return history if isinstance(history, list) else []


def _place(asked: Options, wanted: Shared) -> tuple[Reference, Keyring]:
    reference = references.parse(wanted.ref).with_default_tag()
    return reference, asked.keyring
