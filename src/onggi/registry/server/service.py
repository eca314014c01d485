"""The registry: finds the operation of a call, and turns every refusal into the specification's answer."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from onggi.registry.server import names
from onggi.registry.server.call import Answer, Call
from onggi.registry.server.content import Content
from onggi.registry.server.lists import Lists
from onggi.registry.server.refusals import NoSuchPage, Refusal, UnsupportedCall, render
from onggi.registry.server.storage import Storage
from onggi.registry.server.uploads import Uploads

_Handler = Callable[..., Awaitable[Answer]]
_READING = ("GET", "HEAD")
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
    """One registry over one storage. ``read_only`` is the sentence for those who push, if nobody may."""

    def __init__(
        self, storage: Storage, *, read_only: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read_only = read_only
        self.uploads = uploads = Uploads(storage, clock)
        content, lists = Content(storage), Lists(storage)
        self._operations: dict[str, dict[str, _Handler]] = {
            "root": {"GET": _root},
            "catalog": {"GET": lists.repositories},
            "uploads": {"POST": uploads.begin},
            "session": {
                "GET": uploads.status,
                "PATCH": uploads.chunk,
                "PUT": uploads.close,
                "DELETE": uploads.cancel,
            },
            "blob": {"GET": content.blob, "DELETE": content.unlink},
            "manifest": {
                "GET": content.manifest,
                "PUT": content.put_manifest,
                "DELETE": content.remove_manifest,
            },
            "tags": {"GET": lists.tags},
            "referrers": {"GET": lists.referrers},
        }

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
            allowed = ", ".join((*methods, *(["HEAD"] if "GET" in methods else [])))
            raise UnsupportedCall(headers=(("Allow", allowed),))
        if self._read_only and call.method not in _READING:
            raise UnsupportedCall(message=self._read_only)
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
