"""/onggi/v1: what docker's API cannot say. Private to our own front; refused to nobody."""

from __future__ import annotations

from typing import Any

from onggi.api import registry
from onggi.api.engine import Engine
from onggi.api.http.message import Request, Stream
from onggi.api.query import Query
from onggi.api.requests import shape_create
from onggi.api.router import MAX_VERSION, MIN_VERSION, Answer, Route
from onggi.api.routes.answers import answer, begun, json_lines
from onggi.api.routes.transfers import platform_of, progress
from onggi.api.wire import MULTIPLEXED_STREAM
from onggi.errors import InvalidArgument
from onggi.oci import platform as platforms

Json = Any


async def run(engine: Engine, request: Request) -> Answer:
    """POST /onggi/v1/run: create, attach, start, wait and remove in one round trip.

    With ``Attach`` the connection leaves HTTP: docker's frames, then one of type 4 with the result.
    """
    body = await request.json()
    if not isinstance(body, dict):
        raise InvalidArgument("invalid JSON: expected an object")
    if isinstance(config := body.get("Config"), dict):
        body["Config"] = shape_create(config, MAX_VERSION)
    if body.get("Attach"):
        await engine.containers.run(body, request.hijack(MULTIPLEXED_STREAM))
        return None
    return answer(await engine.containers.run(body, None))


async def serve_registry(engine: Engine, request: Request) -> Answer:
    """POST /onggi/v1/registry/serve: a registry on tcp for as long as the client listens.

    Answers with JSON lines: ``{"Address": "127.0.0.1:5000"}``, then ``{"Line": ...}`` for each request.
    """
    options = registry.parse_options(await request.json(optional=True) or {})
    lines = registry.serve(engine.registries, options, request.headers.get("x-registry-auth", ""))
    return Stream(json_lines(begun(await anext(lines), lines)))


async def pull_layout(engine: Engine, request: Request) -> Answer:
    """POST /onggi/v1/oci/pull: ``path`` of an OCI layout on this machine, ``reference`` its tag there;
    ``unnamed`` for an image without a name here.
    """
    query = Query(request.query)
    platform = platforms.parse(query.text("platform")) if query.text("platform") else None
    return await progress(
        engine.transfers.pull_layout(
            query.text("path"),
            query.text("reference"),
            platform,
            every=query.flag("all"),
            unnamed=query.flag("unnamed"),
        )
    )


async def push_layout(engine: Engine, request: Request) -> Answer:
    """POST /onggi/v1/oci/push: the image ``reference`` into the layout at ``path``, as ``tag``."""
    query = Query(request.query)
    return await progress(
        engine.transfers.push_layout(
            query.text("reference"), query.text("path"), query.text("tag"), platform_of(request, MIN_VERSION)
        )
    )


async def doctor(engine: Engine, request: Request) -> Answer:
    """GET /onggi/v1/doctor."""
    return answer(await engine.system.doctor())


async def disk_usage(engine: Engine, request: Request) -> Answer:
    """GET /onggi/v1/system/df."""
    return answer(await engine.data_root.accounts())


async def fsck(engine: Engine, request: Request) -> Answer:
    """POST /onggi/v1/fsck: verify the store and, with ``{"Repair": true}``, mend it; with ``{"Deep": true}``
    every unpacked layer is compared with its archive.

    Answers with JSON lines, one for each finding as soon as there is one, the last is ``{"Checked": ...}``.
    """
    body = await request.json(optional=True) or {}
    repair, deep = (body.get(key, False) if isinstance(body, dict) else None for key in ("Repair", "Deep"))
    if not isinstance(repair, bool) or not isinstance(deep, bool):
        raise InvalidArgument(
            "invalid JSON: expected an object with the members Repair and Deep, true or false"
        )
    return Stream(json_lines(engine.data_root.fsck(repair=repair, deep=deep)))


ROUTES = [
    Route("POST", "/onggi/v1/run", run),
    Route("POST", "/onggi/v1/registry/serve", serve_registry, until_eof=True),
    Route("POST", "/onggi/v1/oci/pull", pull_layout, until_eof=True),
    Route("POST", "/onggi/v1/oci/push", push_layout, until_eof=True),
    Route("GET", "/onggi/v1/doctor", doctor),
    Route("GET", "/onggi/v1/system/df", disk_usage),
    Route("POST", "/onggi/v1/fsck", fsck, until_eof=True),
]
