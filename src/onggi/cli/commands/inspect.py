"""``onggi inspect``."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options
from onggi.cli.inspecting import FORMAT, print_objects
from onggi.client.engine import quote
from onggi.client.errors import ClientError, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.context import Cli

    Json = Any

_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print all facts about containers, images and what else has the name."""
    kind = options.text("type")
    if kind and kind not in _PATHS:
        kinds = ", ".join(f'"{known}"' for known in sorted(_PATHS))
        raise Failure(f'unknown type: "{kind}": must be one of {kinds}')
    if kind and kind != "container" and options.on("size"):
        raise Failure(f'"size" is not supported for type "{kind}"')
    return print_objects(
        cli, arguments, lambda name: _look_up(cli, name, kind, options.on("size")), options.text("format")
    )


def _look_up(cli: Cli, name: str, kind: str, size: bool) -> Json:
    for candidate in [kind] if kind else list(_PATHS):
        query = {"size": True} if size and candidate == "container" else None
        try:
            return cli.engine.get(_PATHS[candidate].format(quote(name.strip("/"), b"/:")), query)
        except EngineError as error:
            if kind or error.status not in (404, 501):
                raise
    raise ClientError(f"Error: No such object: {name}")


COMMAND = Command(
    "inspect [OPTIONS] NAME|ID [NAME|ID...]",
    "Show all facts about containers and images",
    run,
    flags=(
        FORMAT,
        ("size", "s", "bool", "", "Measure the container's files too"),
        ("type", "", "string", "", "Look only for objects of this type"),
    ),
    arguments=(1, None),
)
