"""/networks."""

from __future__ import annotations

import time

from onggi.api.engine import Engine
from onggi.api.http.message import Request, Response
from onggi.api.query import Query
from onggi.api.router import Answer, Route
from onggi.api.routes.answers import NO_CONTENT, answer
from onggi.containers.request import convert
from onggi.networks.filters import LIST, PRUNE
from onggi.networks.request import Connect, CreateNetwork, Disconnect
from onggi.oci.until import parse_until


async def list_(engine: Engine, request: Request) -> Answer:
    """GET /networks; before 1.28 with who is connected."""
    filters = Query(request.query).filters(LIST)
    return answer(await engine.networks.list_(filters, members=request.api_version < (1, 28)))


async def inspect(engine: Engine, request: Request) -> Answer:
    """GET /networks/{id}."""
    query = Query(request.query)
    found = await engine.networks.inspect(request.params["id"], query.text("scope"))
    return answer(found)


async def create(engine: Engine, request: Request) -> Answer:
    """POST /networks/create; networks without IPv4 exist since 1.48."""
    body = convert(await request.json(), CreateNetwork)
    if request.api_version < (1, 48):
        body.enable_ipv4 = None
    return answer(await engine.networks.create(body), 201)


async def remove(engine: Engine, request: Request) -> Answer:
    """DELETE /networks/{id}."""
    await engine.networks.remove(request.params["id"])
    return NO_CONTENT


async def connect(engine: Engine, request: Request) -> Answer:
    """POST /networks/{id}/connect."""
    body = convert(await request.json(), Connect)
    await engine.containers.network_connect(request.params["id"], body)
    return Response(200)


async def disconnect(engine: Engine, request: Request) -> Answer:
    """POST /networks/{id}/disconnect."""
    body = convert(await request.json(), Disconnect)
    await engine.containers.network_disconnect(request.params["id"], body)
    return Response(200)


async def prune(engine: Engine, request: Request) -> Answer:
    """POST /networks/prune."""
    filters = Query(request.query).filters({*PRUNE, "until"})
    moments = [parse_until(text, time.time_ns()) for text in filters.pop("until", [])]
    return answer(await engine.networks.prune(filters, max(moments, default=0)))


ROUTES = [
    Route("GET", "/networks", list_),
    Route("GET", "/networks/", list_),  # dockerd has no other path with a slash at its end
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("GET", "/networks/{id}", inspect),
    Route("DELETE", "/networks/{id}", remove),
    Route("POST", "/networks/{id}/connect", connect),
    Route("POST", "/networks/{id}/disconnect", disconnect),
]
