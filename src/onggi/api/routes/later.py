"""Operations of rooms that do not exist yet: refused by name, or answered truthfully."""

from __future__ import annotations

from typing import Any

from onggi.api.engine import Engine
from onggi.api.http.message import Request
from onggi.api.router import Answer, Handler, Route
from onggi.api.routes.answers import answer
from onggi.errors import NotFound, Unavailable, Unsupported

Json = Any

_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
    "to swarm and try again."
)

_SWARM = "swarm mode is not offered by this engine: run containers with `run`"
_PLUGINS = "plugins are not offered by this engine: only built-in drivers exist"
_CHECKPOINTS = "checkpoints are not offered by this engine: stop and start the container"
NOT_OFFERED = (
    ("POST", "/swarm/init", _SWARM),
    ("POST", "/swarm/join", _SWARM),
    ("GET", "/plugins/privileges", _PLUGINS),
    ("POST", "/plugins/create", _PLUGINS),
    ("POST", "/plugins/pull", _PLUGINS),
    ("GET", "/containers/{id}/checkpoints", _CHECKPOINTS),
    ("POST", "/containers/{id}/checkpoints", _CHECKPOINTS),
    ("DELETE", "/containers/{id}/checkpoints/{checkpoint}", _CHECKPOINTS),
)

_PLUGIN_VERBS = ("disable", "enable", "push", "set")
_SWARM_ROOMS = ("services", "tasks", "nodes", "secrets", "configs")


def refusal(sentence: str) -> Handler:
    """Return the handler of what is not done here."""

    async def refuse(engine: Engine, request: Request) -> Answer:
        raise Unsupported(sentence)

    return refuse


async def no_swarm(engine: Engine, request: Request) -> Answer:
    """Whatever only a swarm manager can do."""
    raise Unavailable(_NO_SWARM)


async def leave_swarm(engine: Engine, request: Request) -> Answer:
    """POST /swarm/leave."""
    raise Unavailable("This node is not part of a swarm")


def _constant(value: Json) -> Handler:
    async def tell(engine: Engine, request: Request) -> Answer:
        return answer(value)

    return tell


async def no_plugin(engine: Engine, request: Request) -> Answer:
    """Whatever concerns one plugin: none exists."""
    raise NotFound(f'plugin "{request.params["name"]}" not found')


async def no_plugin_to_upgrade(engine: Engine, request: Request) -> Answer:
    """POST /plugins/{name}/upgrade: docker speaks of the tag there."""
    name = request.params["name"]
    raise NotFound(f'plugin "{name if ":" in name else name + ":latest"}" not found')


ROUTES = [
    Route("GET", "/plugins", _constant([])),
    Route("GET", "/plugins/{name*}/json", no_plugin),
    Route("DELETE", "/plugins/{name*}", no_plugin),
    Route("POST", "/plugins/{name*}/upgrade", no_plugin_to_upgrade),
    *(Route("POST", f"/plugins/{{name*}}/{verb}", no_plugin) for verb in _PLUGIN_VERBS),
    *(Route(method, pattern, refusal(sentence)) for method, pattern, sentence in NOT_OFFERED),
    Route("POST", "/swarm/leave", leave_swarm),
    Route("GET", "/swarm", no_swarm),
    Route("GET", "/swarm/unlockkey", no_swarm),
    Route("POST", "/swarm/unlock", no_swarm),
    Route("POST", "/swarm/update", no_swarm),
    *(Route(method, f"/{room}", no_swarm) for room in _SWARM_ROOMS for method in ("GET", "POST")),
    *(
        Route(method, f"/{room}/{{rest*}}", no_swarm)
        for room in _SWARM_ROOMS
        for method in ("GET", "POST", "DELETE")
    ),
]
