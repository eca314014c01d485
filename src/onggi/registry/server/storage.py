"""What the protocol logic needs kept. Names and digests that arrive here are well-formed.

Digests are sha256 or sha512. A repository exists while it holds something.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, Protocol

from onggi.registry.server.documents import Document, Referrer


class Blob(NamedTuple):
    """Some kept bytes; ``read(start, end)`` yields those from ``start`` up to, not including, ``end``."""

    size: int
    read: Callable[[int, int], AsyncIterator[bytes]]


class Stored(NamedTuple):
    """A kept manifest or index, byte for byte."""

    digest: str
    media_type: str
    data: bytes


class WrongDigest(Exception):
    """What was uploaded is not what its digest says."""


class Upload(Protocol):
    """A blob on its way in; ``offset`` bytes are there. It is one caller's at a time."""

    @property
    def offset(self) -> int: ...

    async def append(self, pieces: AsyncIterator[bytes]) -> None:
        """Add what comes. If the source breaks off, what has come stays."""

    async def finish(self, digest: str) -> None:
        """Verify, and let the repository have the blob. Raises WrongDigest; the upload has ended."""

    async def cancel(self) -> None:
        """Forget it. Idempotent, and allowed behind ``finish``."""


class Reading(Protocol):
    """What repositories hold. Lists are sorted."""

    async def blob(self, repository: str, digest: str) -> Blob | None: ...
    async def manifest(self, repository: str, reference: str) -> Stored | None:
        """By tag or digest."""

    async def tags(self, repository: str) -> list[str] | None:
        """None if there is no such repository."""

    async def referrers(self, repository: str, digest: str) -> list[Referrer]:
        """Documents whose subject is ``digest``, by digest."""

    async def repositories(self) -> list[str]: ...


class Writing(Protocol):
    """Changing what repositories hold."""

    async def upload(self, repository: str) -> Upload: ...
    async def mount(self, repository: str, digest: str, source: str) -> bool:
        """Let ``repository`` have a blob of ``source``, of anybody if that is empty; False if absent."""

    async def unlink(self, repository: str, digest: str) -> bool:
        """Take a blob from a repository; False if it has none such."""

    async def keep(self, repository: str, document: Document, tags: Sequence[str]) -> Sequence[str]:
        """Keep a document and let tags name it; or keep nothing, and return what it needs and is not here."""

    async def untag(self, repository: str, tag: str) -> bool:
        """Take a tag away; False if there is none."""

    async def remove(self, repository: str, digest: str) -> bool:
        """Take a document away, with the tags that name it; False if there is none."""


class Storage(Reading, Writing, Protocol):
    """Everything that a registry keeps."""
