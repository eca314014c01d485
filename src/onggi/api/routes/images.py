"""/images: what exists without registries."""

from __future__ import annotations

from typing import Any

from onggi.api.engine import Engine
from onggi.api.http.message import Request, Response
from onggi.api.query import Query
from onggi.api.router import Answer, Route
from onggi.api.routes import transfers
from onggi.api.routes.answers import answer
from onggi.api.shapes import shape_image, shape_image_detail
from onggi.errors import InvalidArgument
from onggi.oci import platform as platforms
from onggi.oci.platform import Platform

Json = Any
LIST_FILTERS = frozenset(("before", "dangling", "label", "label!", "reference", "since", "until"))
PRUNE_FILTERS = frozenset(("dangling", "label", "label!", "until"))


async def list_(engine: Engine, request: Request) -> Answer:
    """GET /images/json."""
    query = Query(request.query)
    filters = query.filters(LIST_FILTERS)
    if request.api_version < (1, 41) and query.text("filter"):
        filters.setdefault("reference", []).append(query.text("filter"))
    shared = query.flag("shared-size") and request.api_version >= (1, 42)
    images = await engine.images.list(filters, query.flag("all"), shared=shared)
    if request.api_version >= (1, 51):
        of_each = engine.containers.per_image()
        images = [image | {"Containers": of_each[image["Id"]]} for image in images]
    return answer([shape_image(image, request.api_version) for image in images])


async def inspect(engine: Engine, request: Request) -> Answer:
    """GET /images/{name}/json."""
    platform = transfers.platform_of(request, (1, 49))
    if platform and Query(request.query).flag("manifests"):
        raise InvalidArgument("conflicting options: manifests and platform options cannot both be set")
    found = await _of_platform(engine, request.params["name"], platform)
    return answer(shape_image_detail(found, request.api_version))


async def _of_platform(engine: Engine, name: str, platform: Platform | None) -> Json:
    found = await engine.images.inspect(name)
    has = Platform(found["Os"], found["Architecture"], found.get("Variant", ""))
    platforms.require(name, has, platform)
    return found


async def history(engine: Engine, request: Request) -> Answer:
    """GET /images/{name}/history."""
    await _of_platform(engine, request.params["name"], transfers.platform_of(request, (1, 48)))
    return answer(await engine.images.history(request.params["name"]))


async def tag(engine: Engine, request: Request) -> Answer:
    """POST /images/{name}/tag."""
    target = transfers.named(Query(request.query))
    if target is None:
        raise InvalidArgument("invalid reference format: repository name must not be empty")
    await engine.images.tag(request.params["name"], target)
    return Response(201)


async def remove(engine: Engine, request: Request) -> Answer:
    """DELETE /images/{name}."""
    query, name = Query(request.query), request.params["name"]
    if platform := transfers.one_of_platforms(request, (1, 50)):
        await _of_platform(engine, name, platform)
    removed = await engine.images.remove(name, force=query.flag("force"), prune=not query.flag("noprune"))
    return answer(removed)


async def prune(engine: Engine, request: Request) -> Answer:
    """POST /images/prune."""
    return answer(await engine.images.prune(Query(request.query).filters(PRUNE_FILTERS)))


ROUTES = [
    Route("GET", "/images/json", list_),
    Route("POST", "/images/prune", prune),
    Route("GET", "/images/{name*}/json", inspect),
    Route("GET", "/images/{name*}/history", history),
    Route("POST", "/images/{name*}/tag", tag),
    Route("DELETE", "/images/{name*}", remove),
]
