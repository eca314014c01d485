"""The service behind ``docker import``, ``load``, ``save``, ``commit``, ``pull`` and ``push``.

Every call that takes long is an iterator of docker's progress messages; arguments are checked before the
first. A client that leaves ends the work, unless others ask for the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from onggi.errors import InvalidArgument
from onggi.images import layouts
from onggi.images.artifacts import Artifacts
from onggi.images.committing import CommitWish, commit
from onggi.images.flights import Flights, Workers
from onggi.images.hostbase import Seals
from onggi.images.importer import Wish, config_of, import_root
from onggi.images.layering import Intake
from onggi.images.loading import Loader
from onggi.images.progress import Messages, Progress
from onggi.images.pulling import Puller
from onggi.images.pushing import Pusher
from onggi.images.questions import Questions
from onggi.images.saving import Saver
from onggi.images.service import Images
from onggi.images.streams import Chunks
from onggi.images.tools import RemoteWish, Tools
from onggi.oci import platform as platforms
from onggi.oci import reference as references
from onggi.oci.platform import Platform
from onggi.oci.reference import Reference
from onggi.registry.credentials import Keyring, for_registry
from onggi.registry.settings import Settings
from onggi.store.content import Content
from onggi.store.layers import Layers

Json = Any
T = TypeVar("T")
_THREADS = 16


class Transfers:
    """Moves images of one store."""

    def __init__(
        self, content: Content, layers: Layers, images: Images, seal_key: str, registries: Settings
    ) -> None:
        self._content, self._images = content, images
        self._workers = Workers(_THREADS)
        self._own: Flights[Any] = Flights()
        tools = self._tools = Tools(content, Intake(content, layers), images, self._workers, Seals(seal_key))
        self._loader, self._saver = Loader(tools), Saver(tools)
        self._puller, self._pusher = Puller(tools, registries), Pusher(tools, registries)
        self.questions = Questions(registries, self._workers)
        self.artifacts = Artifacts(tools, self._puller)

    def close(self) -> None:
        """Let go of threads."""
        self._workers.close()

    async def work(self, call: Callable[[], T]) -> T:
        """The result of a call that takes long, in a thread."""
        return await self._workers.run(call)

    def import_(
        self,
        chunks: Chunks,
        *,
        reference: str | None = None,
        changes: Sequence[str] = (),
        message: str = "",
        platform: str | None = None,
    ) -> Messages:
        """Make an image of one layer from a tar of a root file system: plain, gzip, zstd, xz or bzip2.

        The last message is ``{"status": "sha256:…"}``. Raises InvalidArgument or Conflict at once; the
        iterator raises what the archive earns.
        """
        wish = Wish(
            self._images.new_reference(reference) if reference else None,
            config_of(changes, message, platform),
        )
        return self._own.follow(object(), lambda it: self._whole(import_root(self._tools, chunks, wish, it)))

    def pull(self, name: str, tag: str = "", *, platform: str = "", auth: str | Keyring = "") -> Messages:
        """Pull an image, or every tag of a repository where neither tag nor digest is given.

        ``auth`` is a client's X-Registry-Auth, or its keyring. Raises InvalidArgument at once; the iterator
        raises what the registry says, in docker's words.
        """
        reference = _tagged(name, tag)
        keyring = auth if isinstance(auth, Keyring) else for_registry(auth, reference.domain)
        wish = RemoteWish(reference, platforms.parse(platform) if platform else None, keyring)
        if not reference.tag and not reference.digest:
            return self._pull_all(wish)
        return self._pull(wish)

    def _pull(self, wish: RemoteWish) -> Messages:
        """Two who want the same with the same rights share one pull."""
        return self._own.follow(wish, lambda progress: self._puller.pull(wish, progress))

    async def _pull_all(self, wish: RemoteWish) -> Messages:
        status = "Status: Image is up to date for"
        for tag in await self._puller.tags(wish):
            one = wish._replace(reference=Reference(wish.reference.domain, wish.reference.path, tag))
            async with aclosing(self._pull(one)) as messages:
                async for message in messages:
                    if not message.get("status", "").startswith("Status: "):
                        yield message
                    elif "Downloaded" in message["status"]:
                        status = "Status: Downloaded newer image for"
        yield {"status": f"{status} {wish.reference.familiar_name}"}

    def push(self, name: str, tag: str = "", *, platform: Platform | None = None, auth: str = "") -> Messages:
        """Push a tag of a repository, or all of them where none is given; like ``pull``."""
        reference = _tagged(name, tag)
        wish = RemoteWish(reference, platform, for_registry(auth, reference.domain))
        return self._own.follow(object(), lambda progress: self._pusher.push(wish, progress))

    def load(self, chunks: Chunks, platform: Platform | None = None) -> Messages:
        """Take in the images of an archive. Raises what the archive earns."""
        return self._own.follow(object(), lambda it: self._whole(self._loader.load(chunks, platform, it)))

    def pull_layout(
        self,
        path: str,
        tag: str,
        platform: Platform | None = None,
        *,
        every: bool = False,
        unnamed: bool = False,
    ) -> Messages:
        """Take in an image of an OCI layout on this machine. Raises InvalidArgument at once."""
        _check_path(path)
        return self._own.follow(
            object(),
            lambda it: self._whole(
                self._loader.pull_layout(path, tag, platform, it, every=every, unnamed=unnamed)
            ),
        )

    def push_layout(self, name: str, path: str, tag: str = "", platform: Platform | None = None) -> Messages:
        """Write an image into an OCI layout on this machine. Raises InvalidArgument at once."""
        _check_path(path)
        return self._own.follow(object(), lambda it: self._push_layout(name, path, tag, platform, it))

    async def _push_layout(
        self, name: str, path: str, tag: str, platform: Platform | None, progress: Progress
    ) -> None:
        reference = str(references.parse(name).with_default_tag()) if ":" not in name else name
        async with self._content.lease() as lease:
            (chosen,) = await self._saver.choose(lease, [reference], platform)
            known = tag or (chosen.names[0].tag if chosen.names else "latest")
            await self._workers.run(lambda: layouts.write(self._content, chosen, path, known, progress))
        progress.say(f"{known}: digest: {chosen.document.digest} size: {len(chosen.document.data)}")

    async def commit(self, chunks: Chunks, wish: CommitWish) -> str:
        """An image of what a container changed; its id. Raises InvalidArgument, or what the tar earns."""
        return await self._whole(commit(self._tools, chunks, wish))

    async def save(self, names: Sequence[str], platform: Platform | None = None) -> AsyncIterator[bytes]:
        """An archive of images, ready when this returns. Raises NotFound in docker's words."""
        stream = self._save(names, platform)
        await anext(stream)  # the images are found and held, or it raises
        return stream

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """All of it or nothing: unlike a pull, it cannot go on where it stopped."""
        try:
            return await work
        except BaseException:
            await self._content.finish(self._images.collect())
            raise

    async def _save(self, names: Sequence[str], platform: Platform | None) -> AsyncIterator[bytes]:
        async with self._content.lease() as lease:
            chosen = await self._saver.choose(lease, names, platform)
            yield b""
            async for piece in self._saver.archive(chosen):
                yield piece
            for it in chosen:
                await self._images.announce("save", it.image.id)


def _tagged(name: str, tag: str) -> Reference:
    """The reference of a name and a tag or digest, which takes precedence over what the name has."""
    reference = references.parse(name)
    if not tag or reference.digest:
        return reference
    more = f"@{tag}" if ":" in tag else f":{tag}"
    return references.parse(reference.name + more)


def _check_path(path: str) -> None:
    if not path.startswith("/") or "\0" in path:
        raise InvalidArgument(f"invalid OCI layout {path!r}: an absolute path is needed")
