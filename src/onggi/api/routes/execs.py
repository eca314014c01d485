"""/exec and /containers/{id}/exec."""

from __future__ import annotations

from onggi.api.engine import Engine
from onggi.api.http.message import Request, Response
from onggi.api.query import Query
from onggi.api.requests import shape_exec
from onggi.api.router import Answer, Route
from onggi.api.routes.answers import NO_CONTENT, answer
from onggi.api.routes.containers import terminal_size
from onggi.api.wire import MULTIPLEXED_STREAM, stream_type
from onggi.containers.execs import MAX_TIMEOUT_S
from onggi.containers.options import ExecOptions
from onggi.containers.request import ExecStart, convert
from onggi.errors import InvalidArgument


async def create(engine: Engine, request: Request) -> Answer:
    """POST /containers/{id}/exec."""
    body = shape_exec(await request.json(), request.api_version)
    return answer({"Id": await engine.containers.exec_create(request.params["id"], body)}, 201)


async def start(engine: Engine, request: Request) -> Answer:
    """POST /exec/{id}/start: detached, or the connection leaves HTTP."""
    body = convert(shape_exec(await request.json(optional=True), request.api_version), ExecStart)
    size = body.console_size if any(body.console_size or ()) else None
    options = ExecOptions(detach=body.detach, tty=body.tty, size=size)
    if options.detach:
        await engine.containers.exec_start(request.params["id"], options, None)
        return Response(200)
    # The start's own word counts, not the exec's: docker-py asks for frames of an exec with a terminal.
    hijack = request.hijack(stream_type(body.tty, request.api_version))
    await engine.containers.exec_start(request.params["id"], options, hijack)
    return None


async def inspect(engine: Engine, request: Request) -> Answer:
    """GET /exec/{id}/json."""
    return answer(await engine.containers.exec_inspect(request.params["id"]))


async def resize(engine: Engine, request: Request) -> Answer:
    """POST /exec/{id}/resize."""
    await engine.containers.exec_resize(request.params["id"], *terminal_size(request))
    return Response(200)


async def run(engine: Engine, request: Request) -> Answer:
    """POST /onggi/v1/exec: create, start, attach and wait in one round trip.

    With ``Attach`` the connection leaves HTTP: type 5 with the ``Id``, docker's frames, type 4 with the
    ``ExitCode``; without, the answer has both.
    """
    body = await request.json()
    if isinstance(body, dict) and body.get("Attach"):
        await engine.containers.exec_run(body, request.hijack(MULTIPLEXED_STREAM))
        return None
    return answer(await engine.containers.exec_run(body, None))


async def kill(engine: Engine, request: Request) -> Answer:
    """POST /onggi/v1/exec/{id}/kill: signal one exec, which docker cannot."""
    signal = Query(request.query).text("signal") or "SIGKILL"
    await engine.containers.exec_kill(request.params["id"], signal)
    return NO_CONTENT


async def timeout(engine: Engine, request: Request) -> Answer:
    """POST /onggi/v1/exec/{id}/timeout: how many ``seconds`` an exec that is created now may run later."""
    seconds = Query(request.query).integer("seconds")
    if seconds is None or not 0 < seconds <= MAX_TIMEOUT_S:
        raise InvalidArgument(f"invalid seconds: expected a number from 1 to {MAX_TIMEOUT_S}")
    await engine.containers.exec_timeout(request.params["id"], seconds)
    return NO_CONTENT


ROUTES = [
    Route("POST", "/containers/{id*}/exec", create),
    Route("POST", "/exec/{id}/start", start),
    Route("GET", "/exec/{id}/json", inspect),
    Route("POST", "/exec/{id}/resize", resize),
    Route("POST", "/onggi/v1/exec", run),
    Route("POST", "/onggi/v1/exec/{id}/kill", kill),
    Route("POST", "/onggi/v1/exec/{id}/timeout", timeout),
]
