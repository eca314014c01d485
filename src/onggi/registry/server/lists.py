"""Lists, page by page: repositories, tags, referrers."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from onggi.oci import media
from onggi.oci.manifest import MAX_BYTES
from onggi.registry.server import names
from onggi.registry.server.call import Answer, Call, Headers
from onggi.registry.server.documents import Referrer
from onggi.registry.server.refusals import NameUnknown, Refusal
from onggi.registry.server.storage import Reading

MOST = 10_000  # names on one page
_NONE: Headers = ()
_CATALOG = 100  # of repositories, where the client names no number


class PageInvalid(Refusal):
    """The number of entries asked for is none."""

    status, code, sentence = 400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested"


class Lists:
    """The calls that list what a storage has."""

    def __init__(self, storage: Reading) -> None:
        self._storage = storage

    async def repositories(self, call: Call) -> Answer:
        """GET /v2/_catalog: docker's; the specification has none."""
        page, headers = _page(call, await self._storage.repositories(), "/v2/_catalog", _CATALOG)
        return _json({"repositories": page}, headers)

    async def tags(self, call: Call, repository: str) -> Answer:
        """GET: the tags of a repository in ASCII order."""
        tags = await self._storage.tags(repository)
        if tags is None:
            raise NameUnknown({"name": repository})
        page, headers = _page(call, tags, f"/v2/{repository}/tags/list", MOST)
        return _json({"name": repository, "tags": page}, headers)

    async def referrers(self, call: Call, repository: str, digest: str) -> Answer:
        """GET: an index of the documents that have a subject, in an unknown repository too."""
        found = await self._storage.referrers(repository, names.digest(digest))
        wanted, headers = call.first("artifactType"), _NONE
        if wanted:
            found = [it for it in found if it.artifact_type == wanted]
            headers = (("OCI-Filters-Applied", "artifactType"),)
        last = call.first("last")
        page, more = _fitting([it for it in found if it.digest > last])
        if more:
            query = {"last": page[-1].digest} | ({"artifactType": wanted} if wanted else {})
            headers = (*headers, _next(f"/v2/{repository}/referrers/{digest}", query))
        index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": page}
        return Answer(200, headers, msgspec.json.encode(index), media.OCI_INDEX)


def _page(call: Call, every: list[str], path: str, default: int) -> tuple[list[str], Headers]:
    last, text = call.first("last"), call.first("n")
    if text and not (text.isascii() and text.isdigit()):
        raise PageInvalid({"n": text[:100]})
    size = min(int(text[:9]) if text else default, MOST)
    rest = [name for name in every if name > last] if last else every
    page = rest[:size]
    if not page or len(page) == len(rest):
        return page, ()
    return page, (_next(path, {"last": page[-1], "n": str(size)}),)


def _next(path: str, query: dict[str, str]) -> tuple[str, str]:
    return ("Link", f'<{path}?{urlencode(query)}>; rel="next"')


def _fitting(entries: Sequence[Referrer]) -> tuple[list[Referrer], bool]:
    """The first entries that fit into one manifest, and whether there are more."""
    page: list[Referrer] = []
    room = MAX_BYTES - 1024
    for entry in entries:
        room -= len(msgspec.json.encode(entry)) + 1
        if page and room < 0:
            return page, True
        page.append(entry)
    return page, False


def _json(value: dict[str, object], headers: Headers) -> Answer:
    return Answer(200, headers, msgspec.json.encode(value) + b"\n")
