"""/volumes, and below /onggi/v1 what docker's API cannot do with them."""

from __future__ import annotations

from onggi.api.engine import Engine
from onggi.api.http.message import Request, Stream
from onggi.api.query import Query
from onggi.api.router import Answer, Route
from onggi.api.routes.answers import NO_CONTENT, answer
from onggi.errors import Unavailable

_TAR = "application/x-tar"


async def list_(engine: Engine, request: Request) -> Answer:
    """GET /volumes."""
    volumes = await engine.volumes.list(Query(request.query).filters())
    return answer({"Volumes": volumes, "Warnings": None})


async def create(engine: Engine, request: Request) -> Answer:
    """POST /volumes/create."""
    body = await request.json(optional=True)
    return answer(await engine.volumes.create({} if body is None else body), 201)


async def inspect(engine: Engine, request: Request) -> Answer:
    """GET /volumes/{name}."""
    return answer(await engine.volumes.inspect(request.params["name"]))


async def update(engine: Engine, request: Request) -> Answer:
    """PUT /volumes/{name}: only volumes of a swarm can be changed."""
    raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")


async def remove(engine: Engine, request: Request) -> Answer:
    """DELETE /volumes/{name}."""
    await engine.volumes.remove(request.params["name"], force=Query(request.query).flag("force"))
    return NO_CONTENT


async def prune(engine: Engine, request: Request) -> Answer:
    """POST /volumes/prune; before 1.42 it took volumes with a name too."""
    filters = Query(request.query).filters()
    if request.api_version < (1, 42):
        filters.setdefault("all", ["true"])
    return answer(await engine.volumes.prune(filters))


async def export(engine: Engine, request: Request) -> Answer:
    """GET /onggi/v1/volumes/{name}/archive: the content as a tar."""
    return Stream(await engine.volume_contents.export(request.params["name"]), content_type=_TAR)


async def import_(engine: Engine, request: Request) -> Answer:
    """PUT /onggi/v1/volumes/{name}/archive: unpack a tar; answers ``{"entries", "bytes"}``."""
    chunks = request.body.chunks()
    return answer(await engine.volume_contents.import_(request.params["name"], chunks))


ROUTES = [
    Route("GET", "/volumes", list_),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name}", inspect),
    Route("PUT", "/volumes/{name}", update),
    Route("DELETE", "/volumes/{name}", remove),
    Route("GET", "/onggi/v1/volumes/{name}/archive", export, until_eof=True),
    Route("PUT", "/onggi/v1/volumes/{name}/archive", import_),
]
