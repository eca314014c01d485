"""One repository of a registry: manifests, blobs and tags to read.

What is read is checked here as far as it can be: sizes and digests of small documents wholly; of blobs the
length, while their digest is checked by who writes them down.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

import msgspec

from onggi.errors import (
    DataLoss,
    Forbidden,
    InvalidArgument,
    NotFound,
    OnggiError,
    ServerFailed,
    Unauthenticated,
    Unsupported,
)
from onggi.oci import digest as digests
from onggi.oci import manifest, media
from onggi.oci import reference as references
from onggi.oci.reference import Reference
from onggi.registry import failures, listing
from onggi.registry.cancel import Cancel, Cancelled
from onggi.registry.client import Client, Document
from onggi.registry.settings import Limits
from onggi.registry.transport import Answer, Request
from onggi.registry.uploads import OpenReader, Progress, Source, Upload, UploadTarget

if TYPE_CHECKING:
    from onggi.registry.session import Session

_log = logging.getLogger(__name__)
T = TypeVar("T")
ACCEPT = ", ".join((*media.MANIFESTS, *media.INDEXES))
_VAGUE_TYPES = ("", "application/json", "application/octet-stream", "text/plain")
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)
_HASHES = {"sha256": 64, "sha384": 96, "sha512": 128}


class Fetched(msgspec.Struct, frozen=True):
    """A manifest or index as it came: ``digest`` is that of ``data``."""

    data: bytes
    media_type: str
    digest: str


class Opened(msgspec.Struct, frozen=True):
    """A blob that is being read: ``offset`` is where ``chunks`` begin, not always where one asked for."""

    offset: int
    chunks: Iterator[bytes]


class Repository:
    """One repository, to read or to push to. Any thread may use it; its ``cancel`` ends all its calls."""

    def __init__(
        self, session: Session, reference: Reference, cancel: Cancel, limits: Limits, *, pushing: bool = False
    ) -> None:
        self.reference = reference
        self.pushing = pushing
        self._session = session
        self.cancel = cancel
        self._limits = limits
        self._failed: set[int] = set()  # mirrors that could not be used
        self._begun: dict[str, str] = {}  # digest -> upload that a registry offered in place of a mount

    def resolve(self, wanted: str = "") -> Fetched:
        """The manifest or index of a tag or digest (of the reference's own where none is given).

        Raises NotFound, Unauthenticated and others in docker's words; DataLoss for what is not what was asked
        for.
        """
        own = self.reference.digest or self.reference.tag or "latest"
        name = _tag_or_digest(wanted or own)
        return self._read(lambda client: self._resolve(client, name))

    def current(self, tag: str) -> str:
        """The digest that a tag has now, by HEAD, which the hub does not count as a pull; by GET where the
        registry's answer to HEAD does not say. Raises as ``resolve``.
        """
        _tag_or_digest(tag)

        def ask(client: Client) -> str:
            request = Request("HEAD", self._url(client, "manifests", tag), {"Accept": ACCEPT})
            told = self._checked(client.document(request, self._scope, self.cancel))
            return told.header("docker-content-digest")

        found = self._read(ask)
        return digests.check(found) if found.startswith("sha256:") else self.resolve(tag).digest

    @contextmanager
    def blob(self, digest: str, offset: int = 0, size: int | None = None) -> Iterator[Opened]:
        """Read a blob from ``offset`` on; where the registry cannot, from its beginning.

        With ``size`` an answer of another length is refused before its bytes are read. Raises Transient when
        the transfer breaks off: call again with what is there by then.
        """
        digests.check(digest)
        answer, start = self._read(lambda client: self._open(client, digest, offset))
        with answer:
            _check_size(answer, start, size, digest)
            yield Opened(start, _bounded(answer, None if size is None else size - start))

    def has_blob(self, digest: str) -> int | None:
        """The size of a blob that the repository has, else None."""
        digests.check(digest)

        def ask(client: Client) -> int | None:
            found = client.document(
                Request("HEAD", self._url(client, "blobs", digest)), self._scope, self.cancel
            )
            if found.status == 404:
                return None
            length = self._checked(found).header("content-length")
            return int(length) if length.isdecimal() else None

        return self._read(ask)

    def tags(self) -> Iterator[str]:
        """Every tag, in the registry's order. Raises as ``resolve``."""

        def ask(client: Client) -> list[str]:
            first = self._url(client, "tags", f"list?n={listing.PAGE}")
            return listing.tags(first, lambda url: self._page(client, url))

        return iter(self._read(ask))

    def referrers(self, digest: str) -> list[listing.Referrer]:
        """The documents whose subject is ``digest``. Raises NotFound where the registry lists none of any."""
        digests.check(digest)

        def ask(client: Client) -> list[listing.Referrer]:
            first = self._url(client, "referrers", digest)
            return listing.referrers(first, lambda url: self._page(client, url))

        return self._read(ask)

    def mount(self, digest: str, from_path: str) -> bool:
        """Whether the registry took a blob over from another of its repositories; if not, ``upload`` it."""
        digests.check(digest)
        _check_path(from_path)
        query = urlencode({"mount": digest, "from": from_path})
        scope = f"{self._scope} repository:{from_path}:pull"
        client = self._client()
        request = Request("POST", f"{self._url(client, 'blobs', 'uploads')}/?{query}")
        try:
            found = client.document(request, scope, self.cancel)
        except (Unauthenticated, Forbidden, NotFound):
            return False  # no right to the other repository: that is no reason to fail
        if found.status == 202 and found.header("location"):
            self._begun[digest] = client.location(found)
        return found.status == 201

    def upload(
        self, digest: str, size: int, open_reader: OpenReader, progress: Progress | None = None
    ) -> None:
        """Send a blob. ``open_reader`` opens its bytes for one attempt; ``progress`` hears how many went.

        An upload that breaks is continued where the registry says it stands, or begun again.
        """
        digests.check(digest)
        client = self._client()
        target = UploadTarget(client, self._url(client, "blobs"), self._scope, self.cancel, self._limits)
        blob = Source(digest, size, open_reader, progress or _nobody)
        Upload(target, blob, self._begun.pop(digest, "")).run()

    def put_manifest(self, wanted: str, data: bytes, media_type: str) -> str:
        """Send a manifest or index under a tag or its digest; returns its digest."""
        _tag_or_digest(wanted)
        client, digest = self._client(), digests.sha256(data)
        request = Request("PUT", self._url(client, "manifests", wanted), {"Content-Type": media_type}, data)
        told = client.document(request, self._scope, self.cancel).accepted().header("docker-content-digest")
        if told.startswith("sha256:") and told != digest:
            raise DataLoss(f"the registry took the manifest {digest} for {told}")
        return digest

    def _page(self, client: Client, url: str) -> Document:
        return self._checked(client.document(Request("GET", url), self._scope, self.cancel))

    @property
    def _scope(self) -> str:
        return f"repository:{self.reference.path}:{'pull,push' if self.pushing else 'pull'}"

    def _client(self) -> Client:
        """The registry itself, never a mirror."""
        endpoint = self._session.endpoints(self.reference.domain, self.cancel, pushing=True)[-1]
        return self._session.client(self.reference.domain, endpoint, self.cancel)

    def _url(self, client: Client, *path: str) -> str:
        return "/".join((client.url, "v2", self.reference.path, *path))

    def _read(self, action: Callable[[Client], T]) -> T:
        """The result of the first endpoint that gives one; a mirror that fails is not asked again."""
        found = self._session.endpoints(self.reference.domain, self.cancel, pushing=self.pushing)
        listed = list(enumerate(found))
        for number, endpoint in listed[:-1]:
            if number in self._failed:
                continue
            try:
                return action(self._session.client(self.reference.domain, endpoint, self.cancel))
            except Cancelled:
                raise
            except OnggiError as error:
                _log.warning(
                    "the mirror %s failed, the registry itself is asked: %s", endpoint.urls[0], error
                )
                self._failed.add(number)
        return action(self._session.client(self.reference.domain, listed[-1][1], self.cancel))

    def _checked(self, found: Document) -> Document:
        if found.refused is not None and not self.pushing:
            raise failures.pull_error(found.refused, self.reference)
        return found.accepted()

    def _resolve(self, client: Client, wanted: str) -> Fetched:
        request = Request("GET", self._url(client, "manifests", wanted), {"Accept": ACCEPT})
        found = self._checked(client.document(request, self._scope, self.cancel))
        told = found.header("content-type").partition(";")[0].strip().lower()
        _check_type(told, found.url)
        actual = digests.sha256(found.data)
        if ":" in wanted and wanted != actual:
            raise DataLoss(f"manifest verification failed for digest {wanted}")
        _check_digest_header(found)
        return Fetched(found.data, manifest.parse(found.data, told).media_type, actual)

    def _open(self, client: Client, digest: str, offset: int) -> tuple[Answer, int]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        request = Request("GET", self._url(client, "blobs", digest), headers)
        answer = client.stream(request, self._scope, self.cancel)
        if isinstance(answer, Document):
            if answer.status == 416 and offset:
                return self._open(client, digest, 0)
            self._checked(answer)
            raise ServerFailed(f"unexpected answer {failures.status_line(answer.status)} for {digest}")
        try:
            return answer, _start(answer, offset)
        except BaseException:
            answer.close()
            raise


def _tag_or_digest(wanted: str) -> str:
    """``wanted`` itself if it can stand in a URL (CVE-2024-3727)."""
    if ":" in wanted:
        return digests.check(wanted)
    if not listing.TAG.fullmatch(wanted):
        raise InvalidArgument(f"invalid tag: {wanted[:200]!r}")
    return wanted


def _check_path(path: str) -> None:
    if references.parse(f"localhost/{path}").name != f"localhost/{path}":
        raise InvalidArgument(f"invalid repository: {path[:200]!r}")


def _check_type(told: str, url: str) -> None:
    """Refuse what is no manifest by its type, so that a login page of a network is called by its name."""
    if told in (*media.MANIFESTS, *media.INDEXES, *media.DOCKER_SCHEMA_1, *_VAGUE_TYPES):
        return
    raise Unsupported(
        f"{url}: unsupported manifest media type {told[:100]}: is this a registry, and an image?"
    )


def _check_digest_header(found: Document) -> None:
    told = found.header("docker-content-digest")
    if not told:
        return
    algorithm, _, hexadecimal = told.partition(":")
    if _HASHES.get(algorithm) != len(hexadecimal):
        raise DataLoss(f"{found.url}: invalid Docker-Content-Digest {told[:150]!r}")
    if hashlib.new(algorithm, found.data).hexdigest() != hexadecimal:
        raise DataLoss(f"manifest verification failed for digest {told}")


def _start(answer: Answer, offset: int) -> int:
    """Where the body of a blob's answer begins."""
    if answer.status == 200:
        return 0
    match = _RANGE.fullmatch(answer.header("content-range"))
    if answer.status != 206 or match is None or int(match[1]) != offset:
        raise DataLoss(f"{answer.url}: the answer is not the range that was asked for")
    return offset


def _check_size(answer: Answer, start: int, size: int | None, digest: str) -> None:
    length = answer.length
    if size is not None and length is not None and start + length != size:
        raise DataLoss(f"{digest}: the registry has {start + length} bytes, the manifest says {size}")


def _bounded(answer: Answer, most: int | None) -> Iterator[bytes]:
    size = 0
    for chunk in answer.chunks():
        size += len(chunk)
        if most is not None and size > most:
            raise DataLoss(f"{answer.url}: the registry sends more bytes than the manifest says")
        yield chunk


def _nobody(_sent: int) -> None:
    """Progress that nobody wants to hear of."""
