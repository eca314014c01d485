"""/containers: life and facts; the streams are in ``streams``."""

from __future__ import annotations

import re

from onggi.api.engine import Engine
from onggi.api.http.message import Request, Response
from onggi.api.query import Query
from onggi.api.requests import create_warnings, shape_create, shape_update
from onggi.api.router import Answer, Route
from onggi.api.routes.answers import NO_CONTENT, answer
from onggi.api.shapes import shape_container, shape_listed
from onggi.errors import InvalidArgument, NotFound, Unsupported

# Where an engine has no BuildKit, buildx asks for this container and would make it to serve `docker build`;
# the image would stay in there, unseen by this engine (docs/decisions/0137).
BUILDX_STAND_IN = "buildx_buildkit_default"
_NO_BUILDKIT = (
    "BuildKit is not part of this engine: build with `DOCKER_BUILDKIT=0 docker build` or `onggi build`, or "
    "give buildx a builder of its own (`docker buildx create --use`)"
)


async def create(engine: Engine, request: Request) -> Answer:
    """POST /containers/create."""
    query = Query(request.query)
    body = shape_create(await request.json(), request.api_version)
    platform = query.text("platform") if request.api_version >= (1, 41) else ""
    name = query.text("name") or None
    old = create_warnings(body, request.api_version)
    container_id, warnings = await engine.containers.create(name, body, platform=platform or None)
    return answer({"Id": container_id, "Warnings": [*old, *warnings]}, 201)


async def list_(engine: Engine, request: Request) -> Answer:
    """GET /containers/json."""
    query = Query(request.query)
    containers = await engine.containers.list(
        all=query.flag("all"),
        limit=max(query.integer("limit") or 0, 0),  # docker-py says -1 for "all"
        size=query.flag("size"),
        filters=query.filters(),
    )
    return answer([shape_listed(entry, request.api_version) for entry in containers])


async def inspect(engine: Engine, request: Request) -> Answer:
    """GET /containers/{id}/json."""
    ref = request.params["id"]
    try:
        found = await engine.containers.inspect(ref, Query(request.query).flag("size"))
    except NotFound:
        if ref == BUILDX_STAND_IN:
            raise Unsupported(_NO_BUILDKIT) from None
        raise
    return answer(shape_container(found, request.api_version))


async def start(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/start; a body (of clients before 1.22) is refused."""
    if len(await request.body.read(1 << 20)) > 2:
        raise InvalidArgument(
            "starting container with non-empty request body was deprecated since API v1.22 "
            "and removed in v1.24"
        )
    checkpoint = Query(request.query).text("checkpoint")
    await engine.containers.start(request.params["id"], checkpoint=checkpoint or None)
    return NO_CONTENT


def _stopping(request: Request) -> tuple[int | None, str | None]:
    query = Query(request.query)
    signal = query.text("signal") if request.api_version >= (1, 42) else ""
    return query.integer("t"), signal or None


async def stop(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/stop."""
    timeout_s, signal = _stopping(request)
    await engine.containers.stop(request.params["id"], timeout_s=timeout_s, signal=signal)
    return NO_CONTENT


async def restart(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/restart."""
    timeout_s, signal = _stopping(request)
    await engine.containers.restart(request.params["id"], timeout_s=timeout_s, signal=signal)
    return NO_CONTENT


async def kill(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/kill."""
    signal = Query(request.query).text("signal") or "SIGKILL"
    await engine.containers.kill(request.params["id"], signal)
    return NO_CONTENT


async def pause(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/pause."""
    await engine.containers.pause(request.params["id"])
    return NO_CONTENT


async def unpause(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/unpause."""
    await engine.containers.unpause(request.params["id"])
    return NO_CONTENT


async def rename(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/rename."""
    await engine.containers.rename(request.params["id"], Query(request.query).text("name"))
    return NO_CONTENT


async def remove(engine: Engine, request: Request) -> Answer:
    """DELETE /containers/{id} and, as links have names of two parts, /containers/{id}/{alias}."""
    query, ref = Query(request.query), "/".join(request.params.values())
    await engine.containers.remove(
        ref, force=query.flag("force"), volumes=query.flag("v"), link=query.flag("link")
    )
    return NO_CONTENT


async def update(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/update."""
    body = shape_update(await request.json(optional=True), request.api_version)
    return answer(await engine.containers.update(request.params["id"], body))


async def top(engine: Engine, request: Request) -> Answer:
    """GET /containers/{id}/top."""
    arguments = Query(request.query).text("ps_args") or "-ef"
    return answer(await engine.containers.top(request.params["id"], arguments))


def terminal_size(request: Request) -> tuple[int, int]:
    """Return rows and columns of a resize. Raises InvalidArgument."""
    query = Query(request.query)
    sizes = []
    for name, word in (("h", "height"), ("w", "width")):
        value = query.text(name)
        if not re.fullmatch(r"-?[0-9]+", value):
            raise InvalidArgument(f'invalid resize {word} "{value}": invalid syntax')
        if len(value) > 5 or not 0 <= int(value) < 1 << 16:
            raise InvalidArgument(f'invalid resize {word} "{value}": value out of range')
        sizes.append(int(value))
    return sizes[0], sizes[1]


async def resize(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/resize."""
    await engine.containers.resize(request.params["id"], *terminal_size(request))
    return Response(200)


async def prune(engine: Engine, request: Request) -> Answer:
    """POST /containers/prune."""
    filters = Query(request.query).filters()
    return answer(await engine.containers.prune(filters))


ROUTES = [
    Route("POST", "/containers/create", create),
    Route("GET", "/containers/json", list_),
    Route("POST", "/containers/prune", prune),
    Route("GET", "/containers/{id*}/json", inspect),
    Route("POST", "/containers/{id*}/start", start),
    Route("POST", "/containers/{id*}/stop", stop),
    Route("POST", "/containers/{id*}/restart", restart),
    Route("POST", "/containers/{id*}/kill", kill),
    Route("POST", "/containers/{id*}/pause", pause),
    Route("POST", "/containers/{id*}/unpause", unpause),
    Route("POST", "/containers/{id*}/rename", rename),
    Route("POST", "/containers/{id*}/update", update),
    Route("POST", "/containers/{id*}/resize", resize),
    Route("GET", "/containers/{id*}/top", top),
    Route("DELETE", "/containers/{id}", remove),
    Route("DELETE", "/containers/{id}/{alias}", remove),
]
