"""/containers: files in and out, and what changed of them."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from onggi.api.engine import Engine
from onggi.api.http.message import Request, Response, Stream
from onggi.api.query import Query
from onggi.api.router import Answer, Route

Json = Any
_TAR, _EXPORT = "application/x-tar", "application/octet-stream"


async def path_facts(engine: Engine, request: Request) -> Answer:
    """HEAD /containers/{id}/archive."""
    facts = await engine.containers.path_facts(request.params["id"], Query(request.query).text("path"))
    return Response(200, headers=_header(facts))


async def archive(engine: Engine, request: Request) -> Answer:
    """GET /containers/{id}/archive."""
    found = await engine.containers.archive(request.params["id"], Query(request.query).text("path"))
    return Stream(found.chunks, content_type=_TAR, headers=_header(found.facts))


async def extract(engine: Engine, request: Request) -> Answer:
    """PUT /containers/{id}/archive."""
    query = Query(request.query)
    await engine.containers.extract(
        request.params["id"],
        query.text("path"),
        request.body.chunks(),
        keep_kinds=query.flag("noOverwriteDirNonDir"),
        as_user=query.flag("copyUIDGID"),
    )
    return Response(200)


async def export(engine: Engine, request: Request) -> Answer:
    """GET /containers/{id}/export."""
    return Stream(await engine.containers.export(request.params["id"]), content_type=_EXPORT)


async def changes(engine: Engine, request: Request) -> Answer:
    """GET /containers/{id}/changes."""
    return Stream(await engine.containers.changes(request.params["id"]))


def _header(facts: Json) -> tuple[tuple[str, str], ...]:
    text = msgspec.json.encode(facts)
    return (("X-Docker-Container-Path-Stat", b64encode(text).decode()),)


ROUTES = [
    Route("HEAD", "/containers/{id*}/archive", path_facts),
    Route("GET", "/containers/{id*}/archive", archive, until_eof=True),
    Route("PUT", "/containers/{id*}/archive", extract),
    Route("GET", "/containers/{id*}/export", export, until_eof=True),
    Route("GET", "/containers/{id*}/changes", changes, until_eof=True),
]
