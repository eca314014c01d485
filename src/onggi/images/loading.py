"""``docker load`` and ``pull oci:DIR``: images out of archives and OCI layouts.

The stream is read once: layers are taken in as they come, and find their place when the documents, which
stand behind them, have been read. What becomes part of no image is removed again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack

from onggi.errors import DataLoss, InvalidArgument, NotFound
from onggi.images import layout
from onggi.images.bundle import Bundle, DirectoryBundle, TarBundle
from onggi.images.layering import check_diff_id
from onggi.images.layout import Wanted
from onggi.images.progress import Progress, Transfer
from onggi.images.recording import Config, NewImage, is_here, kept_blobs, parse_config
from onggi.images.streams import Chunks
from onggi.images.tools import Tools
from onggi.kernel.failpoints import failpoint
from onggi.oci import reference as references
from onggi.oci.digest import chain_ids, sha256
from onggi.oci.manifest import Manifest, parse
from onggi.oci.platform import Platform, local, of_config
from onggi.oci.reference import Reference
from onggi.store.content import Lease

_AT_ONCE = 4  # archives read at the same time: each holds two threads


class Loader:
    """Reads archives into one store."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def load(self, chunks: Chunks, platform: Platform | None, progress: Progress) -> list[str]:
        """Take in every image of an archive (docker's, or an OCI layout); returns the images' ids."""
        async with self._turns, self.tools.content.lease(ttl_s=0) as lease, AsyncExitStack() as stack:
            bundle = TarBundle(self.tools, lease, progress)
            await bundle.read(chunks, stack)
            if bundle.has("manifest.json"):
                wanted = layout.read_docker(bundle.document("manifest.json"))
            elif bundle.has("index.json"):
                wanted = layout.read_oci(bundle.document, platform or local())
            else:
                raise InvalidArgument("invalid archive: neither manifest.json nor index.json is in it")
            wanted = _of_platform(bundle, wanted, platform)
            return [await _Image(self.tools, lease, bundle, it, progress).load() for it in wanted]

    async def pull_layout(
        self,
        path: str,
        tag: str,
        platform: Platform | None,
        progress: Progress,
        *,
        every: bool = False,
        unnamed: bool = False,
    ) -> list[str]:
        """Take in an image of an OCI layout on disk (or ``every`` one); returns ids.

        It gets the name that the layout says, else that of the directory; none if it is to be ``unnamed``.
        """
        async with self._turns, self.tools.content.lease(ttl_s=0) as lease, AsyncExitStack() as stack:
            bundle = DirectoryBundle(path, self.tools, lease, stack)
            found = await asyncio.to_thread(layout.read_oci, bundle.document, platform or local(), tag)
            if len(found) != 1 and not every:
                raise InvalidArgument(f"{path} holds {len(found)} images: say which, as oci:{path}:TAG")
            named = [it if it.names else it._replace(names=_named_after(path, it.tag)) for it in found]
            named = [it._replace(names=[]) for it in named] if unnamed else named
            named = await asyncio.to_thread(_of_platform, bundle, named, platform)
            return [await _Image(self.tools, lease, bundle, it, progress).load() for it in named]


class _Image:
    """One image on its way in."""

    def __init__(
        self,
        tools: Tools,
        lease: Lease,
        bundle: Bundle,
        wanted: Wanted,
        progress: Progress,
    ) -> None:
        self._tools, self._lease, self._bundle, self._wanted = tools, lease, bundle, wanted
        self._progress = progress

    async def load(self) -> str:
        """Layers base first, each with its row as soon as it has its place; then the image, durable with all
        that it is made of.
        """
        data = self._bundle.document(self._wanted.config)
        _check_name(self._wanted.config, sha256(data))
        config = parse_config(data)
        self._check(config)
        base = self._tools.seals.base_of(config.document, config.diff_ids)
        await self._load_layers(config)
        failpoint("images.load.before_row")
        image_id = await self._lease.put(data, durable=False)
        manifest = await self._manifest(image_id)
        new = NewImage(image_id, config.diff_ids, base, manifest, names=self._wanted.names)
        moved = await self._tools.images.record(new)
        await self._tools.images.announce("load", image_id)
        self._tell(image_id, moved)
        return image_id

    def _check(self, config: Config) -> None:
        expected, found = len(config.diff_ids), len(self._wanted.layers)
        if expected != found:
            raise InvalidArgument(
                f"invalid manifest, layers length mismatch: expected {expected}, got {found}"
            )

    async def _load_layers(self, config: Config) -> None:
        chain = chain_ids(config.diff_ids)
        for number, name in enumerate(self._wanted.layers):
            if await self._lease.have_layer(chain[number]):
                continue
            await self._load_layer(name, config.diff_ids[:number], config.diff_ids[number])

    async def _load_layer(self, name: str, parents: Sequence[str], diff_id: str) -> None:
        arrival = await self._bundle.layer(name)
        if arrival is None:
            await self._from_kept(name, parents, diff_id)
            return
        if arrival.raw:
            _check_name(name, arrival.raw)
        check_diff_id(arrival, diff_id)
        if not await self._tools.intake.place(arrival, parents):
            # The same layer above other ones: its directory has its place already.
            await self._unpack(arrival.digest, arrival.media_type, parents, diff_id)

    async def _from_kept(self, name: str, parents: Sequence[str], diff_id: str) -> None:
        """The archive lacks the layer; it may be here above other layers."""
        database = self._tools.content.database
        try:
            kept = await database.run(lambda it: kept_blobs(it, [diff_id]))
        except NotFound:
            raise InvalidArgument(f"invalid archive: layer {name} is not in it") from None
        digest, media_type, _ = kept[0]
        await self._lease.have_blob(digest)
        await self._unpack(digest, media_type, parents, diff_id)

    async def _unpack(self, digest: str, media_type: str, parents: Sequence[str], diff_id: str) -> None:
        async with self._tools.intake.from_blob(digest, media_type, Transfer()) as arrival:
            await self._tools.intake.record(arrival, parents, diff_id)

    async def _manifest(self, image_id: str) -> list[tuple[str, str]]:
        """The manifest of an OCI layout is kept if it describes what is kept."""
        if self._wanted.manifest is None:
            return []
        name, media_type = self._wanted.manifest
        data = self._bundle.document(name)
        found = parse(data, media_type)
        assert isinstance(found, Manifest)
        digests = [image_id, *(layer.digest for layer in found.layers)]
        if not await self._tools.content.database.run(lambda it: is_here(it, digests)):
            return []
        return [(await self._lease.put(data, durable=False), found.media_type)]

    def _tell(self, image_id: str, moved: dict[str, str]) -> None:
        for name, before in moved.items():
            self._progress.tell(
                {
                    "stream": f"The image {name} already exists, renaming the old one with ID {before} "
                    "to empty string\n"
                }
            )
        for reference in self._wanted.names:
            self._progress.tell({"stream": f"Loaded image: {reference.familiar}\n"})
        if not self._wanted.names:
            self._progress.tell({"stream": f"Loaded image ID: {image_id}\n"})


def _of_platform(bundle: Bundle, wanted: Sequence[Wanted], platform: Platform | None) -> list[Wanted]:
    """The images for a platform; others are passed over, as by docker, if there is any. Raises NotFound."""
    if platform is None:
        return list(wanted)
    has = [of_config(parse_config(bundle.document(it.config)).document) for it in wanted]
    found = [it for it, its in zip(wanted, has, strict=True) if its.matches(platform)]
    if wanted and not found:
        others = ", ".join(sorted(set(map(str, has))))
        raise NotFound(f"no image of the platform {platform} in the archive: what it has is for {others}")
    return found


def _named_after(path: str, tag: str) -> list[Reference]:
    """``/srv/debian`` and ``12``: debian:12; nothing where that is no name."""
    try:
        return [references.parse(f"{os.path.basename(path.rstrip('/'))}:{tag or 'latest'}")]
    except InvalidArgument:
        return []


def _check_name(name: str, digest: str) -> None:
    """A member that is named by a digest must have it. Raises DataLoss."""
    if name.startswith("blobs/sha256/") and name != layout.blob_name(digest):
        raise DataLoss(f"invalid archive: {name} has the digest {digest}")
