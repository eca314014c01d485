"""/containers: wait, logs, attach and stats, which last as long as the container or the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any, cast

from onggi.api.engine import Engine
from onggi.api.http import websocket
from onggi.api.http.message import Request, Stream
from onggi.api.query import Query
from onggi.api.router import Answer, Route
from onggi.api.routes.answers import answer, json_line, json_lines
from onggi.api.shapes import shape_wait
from onggi.api.wire import log_line, stream_type
from onggi.containers.detach import parse_detach_keys
from onggi.containers.options import AttachOptions, LogQuery
from onggi.errors import InvalidArgument, NotFound

Json = Any
STATS_PERIOD_S = 1.0


async def wait(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/wait: the head at once, since clients start the container when they see it."""
    condition = Query(request.query).text("condition") if request.api_version >= (1, 30) else ""
    future = await engine.containers.wait(request.params["id"], condition)
    if request.api_version < (1, 30):
        return answer(shape_wait(await future, request.api_version))
    return Stream(_wait_result(future, request.api_version))


async def _wait_result(future: asyncio.Future[Json], version: tuple[int, int]) -> AsyncIterator[bytes]:
    yield json_line(shape_wait(await future, version))


def _tail(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1


async def logs(engine: Engine, request: Request) -> Answer:
    """GET /containers/{id}/logs."""
    query = Query(request.query)
    wanted = LogQuery(
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
        follow=query.flag("follow"),
        tail=_tail(query.text("tail", "all")),
        since_ns=query.time_ns("since"),
        until_ns=query.time_ns("until") if request.api_version >= (1, 35) else 0,
    )
    if not (wanted.stdout or wanted.stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    tty = engine.containers.is_tty(request.params["id"])
    timestamps, details = query.flag("timestamps"), query.flag("details")
    render = partial(log_line, timestamps=timestamps, details=details, framed=not tty)
    lines = engine.containers.logs(request.params["id"], wanted, render)
    return Stream(lines, content_type=stream_type(tty, request.api_version))


def _attach_options(query: Query, framed: bool | None) -> AttachOptions:
    return AttachOptions(
        stdin=query.flag("stdin"),
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
        stream=query.flag("stream"),
        logs=query.flag("logs"),
        detach_keys=query.text("detachKeys"),
        framed=framed,
    )


async def attach(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/attach: the connection leaves HTTP."""
    ref = request.params["id"]
    tty = engine.containers.is_tty(ref)
    options = _attach_options(Query(request.query), framed=not tty)
    await engine.containers.attach(ref, options, request.hijack(stream_type(tty, request.api_version)))
    return None


async def attach_websocket(engine: Engine, request: Request) -> Answer:
    """GET /containers/{id}/attach/ws: streams without docker's headers, in binary messages."""
    ref = request.params["id"]
    options = _attach_options(Query(request.query), framed=False)
    parse_detach_keys(options.detach_keys)
    reads = engine.containers.takes_input(ref)  # NotFound goes before a bad handshake, as in docker
    answers = options.logs or (reads and options.stdin and (options.stdout or options.stderr))
    await engine.containers.attach(ref, options, websocket.upgrade(request, answers=answers))
    return None


async def stats(engine: Engine, request: Request) -> Answer:
    """GET /containers/{id}/stats: each sample carries the CPU numbers of the one before."""
    query = Query(request.query)
    stream = query.flag("stream", default=True)
    one_shot = query.flag("one-shot") and request.api_version >= (1, 41)
    if stream and one_shot:
        raise InvalidArgument("cannot have stream=true and one-shot=true")
    ref = request.params["id"]
    first = await engine.containers.stats(ref)
    if one_shot or (not stream and not first.get("cpu_stats", {}).get("system_cpu_usage")):
        return answer(first)
    samples = _samples(engine, first)
    if not stream:
        async with aclosing(cast(Any, samples)):
            await anext(samples)
            return answer(await anext(samples, first))
    return Stream(json_lines(samples))


async def _samples(engine: Engine, sample: Json) -> AsyncIterator[Json]:
    """The sample and those that follow, until the container is removed."""
    ref = sample["id"]
    removed = await engine.containers.wait(ref, "removed")
    try:
        while not removed.done():
            yield sample
            before = sample
            await asyncio.wait([removed], timeout=STATS_PERIOD_S)
            sample = await engine.containers.stats(ref)
            sample |= {"precpu_stats": before.get("cpu_stats", {}), "preread": before.get("read", "")}
    except NotFound:
        return
    finally:
        removed.cancel()


ROUTES = [
    Route("POST", "/containers/{id*}/wait", wait, until_eof=True),
    Route("GET", "/containers/{id*}/logs", logs, until_eof=True),
    Route("GET", "/containers/{id*}/stats", stats, until_eof=True),
    Route("POST", "/containers/{id*}/attach", attach),
    Route("GET", "/containers/{id*}/attach/ws", attach_websocket),
]
