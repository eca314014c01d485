"""From the flags of ``build`` to docker's request: the query, and the headers beside it."""

from __future__ import annotations

import os
from binascii import b2a_base64

from onggi.cli.build_caches import cache_from, cache_to
from onggi.cli.command import Cli, Failure, Options
from onggi.cli.proxies import proxy_variables
from onggi.cli.specs import last_ulimits, parse_pair, split_fields
from onggi.client.codec import encode
from onggi.client.config import ConfigFile
from onggi.client.credentials import Store, header_of
from onggi.client.errors import ClientError, reason
from onggi.errors import InvalidArgument
from onggi.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from onggi.cli.build_context import Context
    from onggi.client.codec import Json

MAX_SECRET = 500 << 10  # docker's
# Flags whose work nobody does yet, and what to do instead.
_LATER = {
    "annotation": "use --label",
    "attest": "images are built without attestations",
    "builder": "this engine is the builder",
}
# What docker's command understands as "no".
_NOTHING = {"provenance": ("false", "disabled=true"), "sbom": ("false", "disabled=true")}
_NUMBERS = {
    "memory": "memory",
    "memory-swap": "memswap",
    "cpu-shares": "cpushares",
    "cpu-period": "cpuperiod",
    "cpu-quota": "cpuquota",
    "shm-size": "shmsize",
}
_TEXTS = {
    "cgroup-parent": "cgroupparent",
    "cpuset-cpus": "cpusetcpus",
    "cpuset-mems": "cpusetmems",
    "isolation": "isolation",
    "target": "target",
}


def refuse(options: Options) -> None:
    """Raise Failure for what is asked for and not done."""
    for name, instead in _LATER.items():
        if name in options.given and options.text(name) not in ("[]", "False", "default"):
            raise Failure(f"--{name} is not supported by this build: {instead}", 125)
    for name, nothing in _NOTHING.items():
        if options.text(name) and options.text(name) not in nothing:
            raise Failure(f"--{name} is not supported by this build: leave it out, or say false", 125)
    if not options.on("rm"):
        raise Failure("--rm=false is not supported by this build: steps leave layers, not containers", 125)


def checks(options: Options) -> bool:
    """Whether the Dockerfile is only to be checked."""
    return options.on("check") or options.text("call") == "check"


def query_of(
    cli: Cli, options: Options, context: Context, tags: list[str], *, quiet: bool
) -> dict[str, Json]:
    """Docker's parameters of POST /build. Raises Failure, ClientError."""
    query: dict[str, Json] = {
        "t": [_tag(tag) for tag in tags] or None,
        "dockerfile": context.dockerfile,
        "remote": context.remote or None,
        "buildargs": _build_args(cli, options) or None,
        "labels": dict(parse_pair(label) for label in options.many("label")) or None,
        "networkmode": options.text("network") or None,
        "platform": _platform(cli, options) or None,
        "nocache": options.on("no-cache") or None,
        "pull": options.on("pull") or None,
        "q": quiet or None,
        "squash": options.on("squash") or None,
        "rm": True,
        "forcerm": options.on("force-rm") or None,
        "extrahosts": options.many("add-host") or None,
        "ulimits": _list(last_ulimits(options.many("ulimit"))),
        "cachefrom": _list([text for text in options.many("cache-from") if "=" not in text]),
        "securityopt": _list(_separated(options.many("security-opt"))),
        "version": "1",
    }
    query |= {parameter: options.number(name) or None for name, parameter in _NUMBERS.items()}
    return query | {parameter: options.text(name) or None for name, parameter in _TEXTS.items()}


def headers_of(cli: Cli, options: Options, context: Context) -> dict[str, str]:
    """Content type, credentials of registries, and what docker's parameters have no place for."""
    own = {
        "Secrets": dict(_secret(text, cli.env) for text in options.many("secret")),
        "Contexts": dict(_context(text) for text in options.many("build-context")),
        "NoCacheFilter": _separated(options.many("no-cache-filter")),
        "Hidden": list(context.hidden),
        "Check": checks(options),
        "CacheFrom": [cache_from(text) for text in options.many("cache-from")],
        "Allow": _separated(options.many("allow")),
        "CacheTo": [cache_to(text) for text in options.many("cache-to")],
        "Details": True,
        "Line": _line(options, context),
        "Explain": options.on("explain"),
        "Verify": options.on("verify"),
        "Debug": options.on("debug"),
        "Ssh": context.agents.header() if context.agents else None,
        "Context": context.sync.header() if context.sync else None,
    }
    return {
        "Content-Type": "application/x-tar",
        "X-Registry-Config": header_of(_auths(cli)),
        "X-Onggi-Build": header_of({name: value for name, value in own.items() if value}),
    }


def _line(options: Options, context: Context) -> str:
    """What this build and the one before it of the same files have in common."""
    where = context.root or context.remote or ",".join(options.many("tag")) or "-"
    return ascii(f"{os.uname().nodename}:{where}:{options.text('file')}")


def _list(values: list[Json]) -> str | None:
    return encode(values).decode() if values else None


def _separated(texts: list[str]) -> list[str]:
    return [part for text in texts for part in _fields(text) if part]


def _fields(text: str) -> list[str]:
    try:
        return split_fields(text)
    except ValueError as error:
        raise Failure(f'invalid argument "{text}": {error}', 125) from None


def _tag(text: str) -> str:
    try:
        parse(text)
    except InvalidArgument as error:
        raise Failure(f'invalid argument "{text}" for "-t, --tag" flag: {error}', 125) from None
    return text


def _platform(cli: Cli, options: Options) -> str:
    given = options.text("platform") or cli.env.get("DOCKER_DEFAULT_PLATFORM", "")
    if "," in given:
        raise Failure("several platforms at once are not supported by this build: build one at a time", 125)
    return given


def _build_args(cli: Cli, options: Options) -> dict[str, str | None]:
    """Values by name; a name alone takes its value from the environment, None where that has none."""
    given = options.many("build-arg")
    values = {
        name: value if equals else cli.env.get(name)
        for name, equals, value in (text.partition("=") for text in given)
    }
    proxies = proxy_variables(cli.config(), cli.engine.endpoint.host, given)
    return {**values, **dict(parse_pair(text) for text in proxies)}


def _auths(cli: Cli) -> dict[str, dict[str, str]]:
    """What is known of every registry; a helper that fails is told and left out."""
    config = ConfigFile(cli.env)
    known: dict[str, dict[str, str]] = {}
    for server in {**config.auths, **(config.values.get("credHelpers") or {})}:
        try:
            known[server] = Store(config, server, cli.env).get().as_json()
        except ClientError as error:
            cli.err(f"WARNING: {error}")
    return known


def _context(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise Failure(f"invalid context value: {text}, expected key=value", 125)
    return name.lower(), value


def _secret(text: str, env: Mapping[str, str]) -> tuple[str, str]:
    """A secret's id and its value in base64. Raises Failure."""
    fields = dict(_field(field, text) for field in _fields(text))
    for key in fields:
        if key not in ("id", "src", "source", "env", "type"):
            raise Failure(f"unexpected key '{key}' in '{text}'", 125)
    kind, name = fields.get("type", ""), fields.get("id", "")
    if kind not in ("", "file", "env"):
        raise Failure(f'unsupported secret type "{kind}"', 125)
    path, variable = fields.get("src") or fields.get("source", ""), fields.get("env", "")
    if kind == "env" and path and not variable:
        path, variable = "", path
    if not name:
        raise Failure(f"secret '{text}' has no id", 125)
    if not path and not variable:
        path, variable = ("", name) if kind != "file" and name in env else (name, "")
    value = _variable(variable, env) if variable else _file(path)
    if len(value) > MAX_SECRET:
        raise Failure(f"invalid secret size {len(value)}, must be less than {MAX_SECRET}")
    return name, b2a_base64(value, newline=False).decode()


def _field(field: str, text: str) -> tuple[str, str]:
    key, equals, value = field.partition("=")
    if not equals:
        raise Failure(f"invalid field '{field}' must be a key=value pair in '{text}'", 125)
    return key.strip().lower(), value


def _variable(name: str, env: Mapping[str, str]) -> bytes:
    if name not in env:
        raise Failure(f"secret: the environment has no variable {name}")
    return os.fsencode(env[name])


def _file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_SECRET + 1)
    except OSError as error:
        raise Failure(f"failed to stat {path}: {reason(error)}") from None
