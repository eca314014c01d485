"""/_ping, /version, /info, /events, /system/df."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from onggi.api.engine import Engine
from onggi.api.http.message import Request, Response, Stream
from onggi.api.query import Query
from onggi.api.router import Answer, Route
from onggi.api.routes.answers import answer, json_lines
from onggi.api.shapes import shape_info, shape_usage
from onggi.errors import InvalidArgument

Json = Any

# Builder-Version 1: there is no buildkit behind this socket, so clients must not look for one.
_PING_HEADERS = (
    ("Builder-Version", "1"),
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
    ("Swarm", "inactive"),
)


async def ping(engine: Engine, request: Request) -> Answer:
    """GET and HEAD /_ping."""
    return Response(200, b"OK", "text/plain; charset=utf-8", _PING_HEADERS)


async def version(engine: Engine, request: Request) -> Answer:
    """GET /version."""
    return answer(await engine.system.version())


async def info(engine: Engine, request: Request) -> Answer:
    """GET /info."""
    return answer(shape_info(await engine.system.info(), request.api_version))


async def df(engine: Engine, request: Request) -> Answer:
    """GET /system/df; since API 1.42 ``type`` selects parts."""
    wanted = Query(request.query).all("type") if request.api_version >= (1, 42) else []
    parts = {"container": "Containers", "image": "Images", "volume": "Volumes", "build-cache": "BuildCache"}
    for name in wanted:
        if name not in parts:
            raise InvalidArgument(f"unknown object type: {name}")
    kinds = {parts[name] for name in wanted} | ({"LayersSize"} if "image" in wanted else set())
    return answer(shape_usage(await engine.data_root.usage(), kinds, request.api_version))


async def events(engine: Engine, request: Request) -> Answer:
    """GET /events: past events since a time, then new ones until another."""
    query = Query(request.query)
    since_ns, until_ns = (max(query.time_ns(it), 1) if query.text(it) else 0 for it in ("since", "until"))
    if until_ns and since_ns > until_ns:
        raise InvalidArgument(
            f"`since` time ({query.text('since')}) cannot be after `until` time ({query.text('until')})"
        )
    begin_ns = 1 if until_ns and not since_ns else since_ns  # an end alone shows what was, as in dockerd
    subscription = engine.events.subscribe(begin_ns, until_ns, query.filters())
    return Stream(json_lines(await _begin(subscription)))


async def _begin(messages: AsyncIterator[Json]) -> AsyncIterator[Json]:
    """Subscribe before the head is sent, so that a client that has seen it misses nothing after."""
    first = asyncio.ensure_future(anext(messages, None))
    # One turn of the loop runs the subscription up to its first wait, or to its refusal.
    await asyncio.sleep(0)
    if first.done():
        first.result()
    return _continue(first, messages)


async def _continue(first: asyncio.Future[Json], rest: AsyncIterator[Json]) -> AsyncIterator[Json]:
    try:
        message = await first
        while message is not None:
            yield message
            message = await anext(rest, None)
    finally:
        first.cancel()


ROUTES = [
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/system/df", df),
    Route("GET", "/events", events, until_eof=True),
]
