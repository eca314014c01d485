"""/build: images from Dockerfiles, by docker's stream of messages.

Our own command sends docker's request with the header ``X-Onggi-Build``: base64url of a JSON object, all of
it optional:

    {"Secrets": {"id": "<base64>"}, "Contexts": {"name": "image or URL"}, "NoCacheFilter": ["stage"],
     "Details": true, "Hidden": ["name in the archive that is not part of the context"], "Check": true,
     "Line": "what this build and the one before it have in common", "Explain": true, "Verify": true,
     "Debug": true, "Ssh": {"Token": "random", "Ids": ["default"]}, "Allow": ["network.host"]}

With ``Details`` each message has ``"onggi": {"Stage": "name", "Step": 3, "Steps": 7, "Event":
"begin|output|cached|done|failed|why", "Seconds": 0.2}``, those of stages that run at once are told as they
come, and an error in the Dockerfile has the lines around it. With ``Check`` nothing is built: the stream has
the report as text, and ``{"aux": {"Warnings": [finding]}}``. With ``Explain`` an event ``why`` has ``"Hit"``
(null for FROM) and ``"Why"``, beside the last build of the same ``Line``. With ``Verify`` the last message is
``{"aux": {"Verify": {"Image", "Again", "Steps"}}}``: the ids of two builds, and the steps that differ, each
``{"Stage", "Instruction", "Files": [[path, [word]]], "Total"}``. With ``Debug`` a
RUN that fails waits: ``{"aux": {"Debug": {"Container", "Image"}}}`` names a container with a shell in its
stead, which the client starts and removes. ``Context`` says how the archive changes one that was kept
(docs/decisions/0101).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from onggi.api.engine import Engine
from onggi.api.http.message import Request, Stream
from onggi.api.query import Query
from onggi.api.router import Answer, Route
from onggi.api.routes.answers import answer, told
from onggi.api.routes.later import refusal
from onggi.api.wire import RAW_STREAM
from onggi.build import policy
from onggi.build.options import Kept, Options, Shared, Ssh
from onggi.build.policy import Rule
from onggi.errors import InvalidArgument, NotFound, Unsupported
from onggi.registry.credentials import document_of, for_registries

Json = Any
_NUMBERS = {
    "memory": "Memory",
    "memswap": "MemorySwap",
    "cpushares": "CpuShares",
    "cpuperiod": "CpuPeriod",
    "cpuquota": "CpuQuota",
    "shmsize": "ShmSize",
}
_TEXTS = {"cpusetcpus": "CpusetCpus", "cpusetmems": "CpusetMems", "cgroupparent": "CgroupParent"}
# What is asked for by a parameter with a value, and what to do instead.
_REFUSED = {
    "session": "BuildKit sessions are not supported: build with DOCKER_BUILDKIT=0",
    "outputs": "outputs are not supported: build an image, then `save` it or `cp` from a container",
    "securityopt": "security options are not supported in builds",
}
_SESSIONS = (
    "BuildKit's sessions are not supported by this engine: build with DOCKER_BUILDKIT=0 docker build, "
    "or with onggi build"
)


async def build(engine: Engine, request: Request) -> Answer:
    """POST /build."""
    messages = engine.builder.build(request.body.chunks(), options_of(request))
    first = await anext(messages, None)
    return Stream(told(first, messages))


def options_of(request: Request) -> Options:
    """The parameters of docker's ImageBuild, and those of our own command. Raises InvalidArgument or
    Unsupported.
    """
    query = Query(request.query)
    _refuse(query)
    own = _own(request.headers.get("x-onggi-build", ""))
    return Options(
        tags=[tag for tag in query.all("t") if tag],
        dockerfile=query.text("dockerfile") or "Dockerfile",
        remote=query.text("remote"),
        target=query.text("target"),
        args=_strings(query, "buildargs"),
        labels=_strings(query, "labels"),
        host=_host(query),
        network=_network(query.text("networkmode")),
        platform=query.text("platform"),
        no_cache=query.flag("nocache"),
        no_cache_stages=own.no_cache_filter,
        pull=query.flag("pull"),
        squash=query.flag("squash"),
        quiet=query.flag("q"),
        keyring=for_registries(request.headers.get("x-registry-config", "")),
        secrets={name: _bytes(text) for name, text in own.secrets.items()},
        contexts=own.contexts,
        details=own.details,
        hidden=own.hidden,
        check=own.check,
        kept=own.context,
        build_id=query.text("buildid"),
        line=own.line,
        explain=own.explain,
        verify=own.verify,
        debug=own.debug,
        ssh=own.ssh,
        cache_from=own.cache_from or _images(query),
        cache_to=own.cache_to,
        allow=own.allow,
    )


class _Own(msgspec.Struct, rename="pascal"):
    secrets: dict[str, str] = {}
    contexts: dict[str, str] = {}
    no_cache_filter: list[str] = []
    details: bool = False
    hidden: list[str] = []
    check: bool = False
    context: Kept | None = None
    line: str = ""
    explain: bool = False
    verify: bool = False
    debug: bool = False
    ssh: Ssh | None = None
    cache_from: list[Shared] = []
    cache_to: list[Shared] = []
    allow: list[str] = []


def _own(header: str) -> _Own:
    try:
        return msgspec.convert(document_of(header, "X-Onggi-Build"), _Own)
    except msgspec.ValidationError:
        raise InvalidArgument("X-Onggi-Build has members of a wrong type") from None


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidArgument("X-Onggi-Build: a secret is not in base64") from None


def _refuse(query: Query) -> None:
    if query.text("version", "1") not in ("", "1"):
        raise Unsupported(_SESSIONS)
    for name, sentence in _REFUSED.items():
        if query.flag(name) and query.text(name) not in ("[]", "null"):
            raise Unsupported(sentence)
    if query.text("isolation") not in ("", "default"):
        raise InvalidArgument(f'invalid isolation "{query.text("isolation")}": unsupported on linux')


def _host(query: Query) -> Json:
    """The part of a HostConfig that a build may set."""
    found: Json = {key: query.integer(name, 0) for name, key in _NUMBERS.items() if query.integer(name, 0)}
    found |= {key: query.text(name) for name, key in _TEXTS.items() if query.text(name)}
    hosts = [entry for text in query.all("extrahosts") for entry in _entries(text)]
    found |= {"ExtraHosts": hosts} if hosts else {}
    ulimits = _json(query, "ulimits", list)
    return found | ({"Ulimits": ulimits} if ulimits else {})


def _entries(text: str) -> list[str]:
    """Extra hosts, which clients send as a JSON list or one by one."""
    if not text.startswith("["):
        return [text] if text else []
    try:
        return msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError:
        raise InvalidArgument("invalid extrahosts: expected a list") from None


def _network(mode: str) -> str:
    return "" if mode == "default" else mode


def _images(query: Query) -> list[Shared]:
    """Images that are here, whose layers are taken where history and layers are the same."""
    names = _json(query, "cachefrom", list)
    if not all(isinstance(name, str) for name in names):
        raise InvalidArgument("error reading cachefrom: values must be strings")
    return [Shared("image", name) for name in names if name]


def _strings(query: Query, name: str) -> dict[str, str]:
    """A JSON object of strings; what is null was not given."""
    found = _json(query, name, dict)
    if not all(isinstance(value, str) or value is None for value in found.values()):
        raise InvalidArgument(f"error reading {name}: values must be strings")
    return {key: value for key, value in found.items() if value is not None}


def _json(query: Query, name: str, kind: type) -> Json:
    text = query.text(name)
    try:
        value = msgspec.json.decode(text) if text else None
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"error reading {name}: {error}") from None
    if value is not None and not isinstance(value, kind):
        raise InvalidArgument(f"error reading {name}: unexpected type")
    return value or kind()


async def files(engine: Engine, request: Request) -> Answer:
    """GET /onggi/v1/build/files: what is in an image, as a tar."""
    name = Query(request.query).text("image")
    return Stream(await engine.builder.files(name), content_type="application/x-tar")


async def prune(engine: Engine, request: Request) -> Answer:
    """POST /build/prune."""
    query = Query(request.query)
    sizes = [
        query.integer(name, 0) or 0
        for name in ("reserved-space", "keep-storage", "max-used-space", "min-free-space")
    ]
    rule = Rule(
        all=query.flag("all"),
        filters=policy.check(query.filters()),
        reserved=sizes[0] or sizes[1],
        max_used=sizes[2],
        min_free=sizes[3],
    )
    return answer(await engine.builder.prune(rule))


async def cancel(engine: Engine, request: Request) -> Answer:
    """POST /build/cancel."""
    build_id = Query(request.query).text("id")
    if not build_id:
        raise InvalidArgument("build ID not provided")
    if not engine.builder.cancel(build_id):
        raise NotFound(f"no build {build_id} is in progress")
    return answer(None)


async def forward(engine: Engine, request: Request) -> Answer:
    """POST /onggi/v1/build/ssh: a connection that waits until a step of the build with this ``token`` asks
    for an ssh agent; then the agent's name as a line, and the agent's talk.
    """
    await engine.builder.forward(Query(request.query).text("token"), request.hijack(RAW_STREAM))
    return None


ROUTES = [
    Route("POST", "/build", build, until_eof=True),
    # Under a name that no other engine has: what is sent may be no more than changes.
    Route("POST", "/onggi/v1/build", build, until_eof=True),
    Route("POST", "/onggi/v1/build/ssh", forward),
    Route("GET", "/onggi/v1/build/files", files, until_eof=True),
    Route("POST", "/build/prune", prune),
    Route("POST", "/build/cancel", cancel),
    Route("POST", "/session", refusal(_SESSIONS)),
    Route("POST", "/grpc", refusal(_SESSIONS)),
]
