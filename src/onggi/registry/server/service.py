"""The registry: finds the operation of a call, and turns every refusal into the specification's answer."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from onggi.registry.server import names
from onggi.registry.server.call import Answer, Call
from onggi.registry.server.content import Changes, Content
from onggi.registry.server.lists import Lists
from onggi.registry.server.refusals import NoSuchPage, Refusal, UnsupportedCall, render
from onggi.registry.server.storage import Reading, Writing
from onggi.registry.server.uploads import Uploads

_Handler = Callable[..., Awaitable[Answer]]
_WRITING = ("POST", "PATCH", "PUT", "DELETE")
# Greedy names: of what could be read in two ways, the operation is the last part of the path.
_PATHS = {
    kind: re.compile(pattern, re.DOTALL)
    for kind, pattern in {
        "root": r"/v2/?",
        "catalog": r"/v2/_catalog",
        "uploads": r"/v2/(?P<repository>.+)/blobs/uploads/?",
        "session": r"/v2/(?P<repository>.+)/blobs/uploads/(?P<session_id>[^/]+)",
        "blob": r"/v2/(?P<repository>.+)/blobs/(?P<digest>[^/]+)",
        "manifest": r"/v2/(?P<repository>.+)/manifests/(?P<reference>[^/]+)",
        "tags": r"/v2/(?P<repository>.+)/tags/list",
        "referrers": r"/v2/(?P<repository>.+)/referrers/(?P<digest>[^/]+)",
    }.items()
}


class Registry:
    """One registry. ``writing`` is None where nobody may push, and ``read_only`` says why."""

    def __init__(
        self,
        reading: Reading,
        writing: Writing | None,
        *,
        read_only: str = "this registry is read-only",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_only = read_only
        content, lists = Content(reading), Lists(reading)
        self._uploads: Uploads | None = None
        self._operations: dict[str, dict[str, _Handler]] = {
            "root": {"GET": _root},
            "catalog": {"GET": lists.repositories},
            "uploads": {},
            "session": {},
            "blob": {"GET": content.blob},
            "manifest": {"GET": content.manifest},
            "tags": {"GET": lists.tags},
            "referrers": {"GET": lists.referrers},
        }
        if writing is not None:
            self._uploads = Uploads(writing, clock)
            self._take_pushes(self._uploads, Changes(writing))

    def _take_pushes(self, uploads: Uploads, changes: Changes) -> None:
        self._operations["uploads"] = {"POST": uploads.begin}
        self._operations["session"] = {
            "GET": uploads.status,
            "PATCH": uploads.chunk,
            "PUT": uploads.close,
            "DELETE": uploads.cancel,
        }
        self._operations["blob"]["DELETE"] = changes.unlink
        self._operations["manifest"] |= {"PUT": changes.put_manifest, "DELETE": changes.remove_manifest}

    async def tidy(self) -> None:
        """End uploads that nobody continues."""
        if self._uploads is not None:
            await self._uploads.expire()

    async def close(self) -> None:
        """Forget unfinished uploads."""
        if self._uploads is not None:
            await self._uploads.end()

    async def answer(self, call: Call) -> Answer:
        """Serve a call; errors that are no refusals come through."""
        try:
            handler, found = self._find(call)
            return await handler(call, **found)
        except Refusal as refusal:
            return render(refusal)

    def _find(self, call: Call) -> tuple[_Handler, dict[str, Any]]:
        kind, found = _match(call.path)
        methods = self._operations[kind]
        handler = methods.get("GET" if call.method == "HEAD" else call.method)
        if handler is None:
            why = self._read_only if self._uploads is None and call.method in _WRITING else ""
            allowed = ", ".join((*methods, *(["HEAD"] if "GET" in methods else [])))
            raise UnsupportedCall(message=why, headers=(("Allow", allowed),))
        if "repository" in found:
            names.repository(found["repository"])
        return handler, found


def _match(path: str) -> tuple[str, dict[str, str]]:
    for kind, pattern in _PATHS.items():
        if match := pattern.fullmatch(path):
            return kind, match.groupdict()
    raise NoSuchPage()


async def _root(_: Call) -> Answer:
    return Answer(200, (), b"{}")
