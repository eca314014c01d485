"""/onggi/v1: what docker's API cannot say. Private to our own front; refused to nobody."""

from __future__ import annotations

from onggi.api.engine import Engine
from onggi.api.http.message import Request
from onggi.api.router import Answer, Route
from onggi.api.routes.answers import answer
from onggi.api.wire import MULTIPLEXED_STREAM
from onggi.errors import InvalidArgument


async def run(engine: Engine, request: Request) -> Answer:
    """POST /onggi/v1/run: create, attach, start, wait and remove in one round trip.

    With ``Attach`` the connection leaves HTTP: docker's frames, then one of type 4 with the result.
    """
    body = await request.json()
    if not isinstance(body, dict):
        raise InvalidArgument("invalid JSON: expected an object")
    if body.get("Attach"):
        await engine.containers.run(body, request.hijack(MULTIPLEXED_STREAM))
        return None
    return answer(await engine.containers.run(body, None))


async def doctor(engine: Engine, request: Request) -> Answer:
    """GET /onggi/v1/doctor."""
    return answer(await engine.system.doctor())


ROUTES = [Route("POST", "/onggi/v1/run", run), Route("GET", "/onggi/v1/doctor", doctor)]
