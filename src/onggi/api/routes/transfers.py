"""/images: in and out of the engine, as streams of docker's progress messages or of a tar."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import msgspec

from onggi.api.engine import Engine
from onggi.api.http.message import Request, Stream
from onggi.api.query import Query
from onggi.api.router import Answer, Route
from onggi.api.routes.answers import answer, begun, told
from onggi.containers.committing import CommitOptions
from onggi.errors import InvalidArgument, OnggiError, Unauthenticated, Unsupported
from onggi.oci.platform import Platform

Json = Any
_TAR = "application/x-tar"


async def create(engine: Engine, request: Request) -> Answer:
    """POST /images/create: a pull, or an import of the body."""
    query = Query(request.query)
    image = query.text("fromImage")
    if not image:
        return await import_(engine, request)
    auth = request.headers.get("x-registry-auth", "")
    messages = engine.transfers.pull(image, query.text("tag"), platform=query.text("platform"), auth=auth)
    try:
        return await progress(messages)
    except Unauthenticated as error:
        # 401 would speak of this engine: docker's command asks for a password then, and waits for it.
        raise OnggiError(str(error)) from None


async def push(engine: Engine, request: Request) -> Answer:
    """POST /images/{name}/push."""
    query = Query(request.query)
    auth = request.headers.get("x-registry-auth", "")
    name, platform = request.params["name"], platform_of(request, (1, 46))
    return await progress(engine.transfers.push(name, query.text("tag"), platform=platform, auth=auth))


async def commit(engine: Engine, request: Request) -> Answer:
    """POST /commit."""
    query = Query(request.query)
    changes = [line for text in query.all("changes") for line in text.splitlines() if line.strip()]
    if "changes" in query and not changes:
        raise InvalidArgument("file with no instructions")
    options = CommitOptions(
        query.text("repo"),
        query.text("tag"),
        query.text("author"),
        query.text("comment"),
        changes,
        query.flag("pause", default=True),
    )
    body = await request.json(optional=True)
    if body is not None and not isinstance(body, dict):
        raise InvalidArgument("invalid JSON: expected an object")
    return answer({"Id": await engine.containers.commit(query.text("container"), body, options)}, 201)


async def log_in(engine: Engine, request: Request) -> Answer:
    """POST /auth."""
    return answer(await engine.questions.log_in(await request.json()))


async def search(engine: Engine, request: Request) -> Answer:
    """GET /images/search."""
    query = Query(request.query)
    limit = query.integer("limit", 0) or 0
    auth = request.headers.get("x-registry-auth", "")
    return answer(await engine.questions.search(query.text("term"), limit, query.filters(), auth))


async def distribution(engine: Engine, request: Request) -> Answer:
    """GET /distribution/{name}/json."""
    auth = request.headers.get("x-registry-auth", "")
    return answer(await engine.questions.distribution(request.params["name"], auth))


async def manifest(engine: Engine, request: Request) -> Answer:
    """GET /onggi/v1/manifests/{name}: what docker's own command asks a registry for itself."""
    auth, every = request.headers.get("x-registry-auth", ""), Query(request.query).flag("every")
    return answer(await engine.questions.manifest(request.params["name"], auth, every=every))


async def load(engine: Engine, request: Request) -> Answer:
    """POST /images/load."""
    query = Query(request.query)
    messages = engine.transfers.load(request.body.chunks(), platform_of(request, (1, 48)))
    # Whatever is wrong with the archive is told in the stream: clients of docker's look for it there. The
    # head waits for the first message, by default the only one: docker-py's users take it for the end.
    lines = told(None, _quiet(messages) if query.flag("quiet", default=True) else messages)
    return Stream(begun(await anext(lines, b""), lines))


async def save(engine: Engine, request: Request) -> Answer:
    """GET /images/get and GET /images/{name}/get."""
    query = Query(request.query)
    names = [request.params["name"]] if "name" in request.params else query.all("names")
    names = [name for text in names for name in text.split(",") if name]
    if not names:
        raise InvalidArgument("no images to save: give one name or more")
    return Stream(await engine.transfers.save(names, platform_of(request, (1, 48))), content_type=_TAR)


async def import_(engine: Engine, request: Request) -> Answer:
    """POST /images/create with fromSrc: a root file system in the body."""
    query = Query(request.query)
    source = query.text("fromSrc")
    if source != "-":
        raise Unsupported(
            f"import from a URL is not supported: fetch {source or 'the archive'} and import the file"
        )
    return await progress(
        engine.transfers.import_(
            request.body.chunks(),
            reference=named(query),
            changes=query.all("changes"),
            message=query.text("message"),
            platform=query.text("platform") or None,
        )
    )


def named(query: Query) -> str | None:
    """The reference that ``repo`` and ``tag`` make."""
    repository, tag = query.text("repo"), query.text("tag")
    if not repository:
        return None
    return f"{repository}:{tag}" if tag else repository


def platform_of(request: Request, since: tuple[int, int]) -> Platform | None:
    """The ``platform`` parameter, a JSON object (OCI image-spec); older clients have none.

    Raises InvalidArgument.
    """
    texts = list(filter(None, Query(request.query).all("platform"))) if request.api_version >= since else []
    if len(texts) > 1:
        raise InvalidArgument("multiple platform parameters not supported")
    return _platform(texts[0]) if texts else None


def one_of_platforms(request: Request, since: tuple[int, int]) -> Platform | None:
    """As ``platform_of``, of the parameter ``platforms``: an image here is of one."""
    texts = Query(request.query).all("platforms") if request.api_version >= since else []
    asked = [_platform(text) for text in texts]
    if len(asked) > 1:
        raise InvalidArgument("multiple platforms are not supported")
    return asked[0] if asked else None


class _Asked(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


def _platform(text: str) -> Platform:
    try:
        asked = msgspec.json.decode(text, type=_Asked)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"failed to parse platform: {error}") from None
    if not (asked.os and asked.architecture):
        raise InvalidArgument("both OS and Architecture must be provided")
    return Platform(asked.os, asked.architecture, asked.variant)


async def progress(messages: AsyncIterator[Json]) -> Answer:
    """Answer with messages: what fails before the first is an answer of its own, what fails later is told in
    the stream.
    """
    return Stream(told(await anext(messages, None), messages))


async def _quiet(messages: AsyncIterator[Json]) -> AsyncIterator[Json]:
    async with aclosing(cast(Any, messages)):
        async for message in messages:
            if "stream" in message:
                yield message


ROUTES = [
    Route("POST", "/images/create", create, until_eof=True),
    Route("POST", "/images/{name*}/push", push, until_eof=True),
    Route("POST", "/commit", commit),
    Route("POST", "/auth", log_in, until_eof=True),
    Route("GET", "/images/search", search, until_eof=True),
    Route("GET", "/distribution/{name*}/json", distribution, until_eof=True),
    Route("GET", "/onggi/v1/manifests/{name*}", manifest, until_eof=True),
    Route("POST", "/images/load", load, until_eof=False),
    Route("GET", "/images/get", save, until_eof=True),
    Route("GET", "/images/{name*}/get", save, until_eof=True),
]
