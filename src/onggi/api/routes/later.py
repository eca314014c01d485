"""Operations of rooms that do not exist yet: refused by name, or answered truthfully."""

from __future__ import annotations

from typing import Any

from onggi.api.engine import Engine
from onggi.api.http.message import Request
from onggi.api.query import Filters, Query
from onggi.api.router import Answer, Handler, Route
from onggi.api.routes.answers import answer
from onggi.errors import NotFound, Unavailable, Unsupported

Json = Any

_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
    "to swarm and try again."
)
_SUPPORTED_NETWORKS = "containers run with --network none, host or the default (loopback only)"
_COPY = "use `exec` with tar to move files"
_BUILD = "build elsewhere and bring the root file system in with `import`"

# (method, pattern, what is refused, what to do instead)
REFUSED = (
    ("GET", "/containers/{id}/archive", "copying from a container", _COPY),
    ("HEAD", "/containers/{id}/archive", "copying from or to a container", _COPY),
    ("PUT", "/containers/{id}/archive", "copying to a container", _COPY),
    ("GET", "/containers/{id}/changes", "diff of a container", "use `exec` with find inside of it"),
    ("GET", "/containers/{id}/export", "export of a container", _COPY),
    ("GET", "/containers/{id}/checkpoints", "checkpoints", "stop and start the container"),
    ("POST", "/containers/{id}/checkpoints", "checkpoints", "stop and start the container"),
    ("DELETE", "/containers/{id}/checkpoints/{checkpoint}", "checkpoints", "stop and start the container"),
    ("POST", "/commit", "commit of a container", _BUILD),
    ("POST", "/build", "build", _BUILD),
    ("POST", "/build/cancel", "build", _BUILD),
    ("POST", "/session", "build sessions", _BUILD),
    ("POST", "/grpc", "build sessions", _BUILD),
    ("POST", "/networks/create", "creation of networks", _SUPPORTED_NETWORKS),
    ("POST", "/networks/{id}/connect", "connecting a container to a network", _SUPPORTED_NETWORKS),
    ("POST", "/networks/{id}/disconnect", "disconnecting a container from a network", _SUPPORTED_NETWORKS),
    ("DELETE", "/networks/{id}", "removal of predefined networks", _SUPPORTED_NETWORKS),
    ("POST", "/swarm/init", "swarm mode", "run containers with `run`"),
    ("POST", "/swarm/join", "swarm mode", "run containers with `run`"),
    ("POST", "/swarm/unlock", "swarm mode", "run containers with `run`"),
    ("GET", "/plugins/privileges", "plugins", "only built-in drivers exist"),
    ("POST", "/plugins/{name*}", "plugins", "only built-in drivers exist"),
)

_SWARM_ROOMS = ("services", "tasks", "nodes", "secrets", "configs")


def _refusal(what: str, instead: str) -> Handler:
    async def refuse(engine: Engine, request: Request) -> Answer:
        raise Unsupported(f"{what} is not supported by this engine yet: {instead}")

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


def _network(name: str, driver: str, number: int) -> Json:
    # Fixed ids: these three exist on every engine and are never made or removed.
    return {
        "Name": name,
        "Id": f"{number:064x}",
        "Created": "0001-01-01T00:00:00Z",
        "Scope": "local",
        "Driver": driver,
        "EnableIPv4": False,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": []},
        "Internal": name == "bridge",
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {},
    }


# `bridge` is a namespace of its own with loopback alone, which is what the driver `null` makes.
NETWORKS = (_network("bridge", "null", 1), _network("host", "host", 2), _network("none", "null", 3))


def _network_matches(network: Json, filters: Filters) -> bool:
    tests = {
        "name": lambda value: value in network["Name"],
        "id": lambda value: network["Id"].startswith(value),
        "driver": lambda value: value == network["Driver"],
        "scope": lambda value: value == network["Scope"],
        "type": lambda value: value == "builtin",
        "label": lambda value: False,
        "dangling": lambda value: value.lower() in ("0", "false"),
    }
    return all(any(map(tests[name], values)) for name, values in filters.items())


async def list_networks(engine: Engine, request: Request) -> Answer:
    """GET /networks."""
    allowed = ("dangling", "driver", "id", "label", "name", "scope", "type")
    filters = Query(request.query).filters(allowed)
    return answer([network for network in NETWORKS if _network_matches(network, filters)])


async def inspect_network(engine: Engine, request: Request) -> Answer:
    """GET /networks/{id}."""
    for network in NETWORKS:
        if request.params["id"] in (network["Name"], network["Id"], network["Id"][:12]):
            return answer(network)
    raise NotFound(f"network {request.params['id']} not found")


async def no_plugin(engine: Engine, request: Request) -> Answer:
    """GET and DELETE of a plugin: none exists."""
    raise NotFound(f'plugin "{request.params["name"]}" not found')


ROUTES = [
    Route("GET", "/networks", list_networks),
    Route("GET", "/networks/{id}", inspect_network),
    Route("POST", "/networks/prune", _constant({"NetworksDeleted": []})),
    Route("POST", "/build/prune", _constant({"CachesDeleted": [], "SpaceReclaimed": 0})),
    Route("GET", "/plugins", _constant([])),
    Route("GET", "/plugins/{name*}/json", no_plugin),
    Route("DELETE", "/plugins/{name*}", no_plugin),
    *(Route(method, pattern, _refusal(what, instead)) for method, pattern, what, instead in REFUSED),
    Route("POST", "/swarm/leave", leave_swarm),
    Route("GET", "/swarm", no_swarm),
    Route("GET", "/swarm/unlockkey", no_swarm),
    Route("POST", "/swarm/update", no_swarm),
    *(Route(method, f"/{room}", no_swarm) for room in _SWARM_ROOMS for method in ("GET", "POST")),
    *(
        Route(method, f"/{room}/{{rest*}}", no_swarm)
        for room in _SWARM_ROOMS
        for method in ("GET", "POST", "DELETE")
    ),
]
