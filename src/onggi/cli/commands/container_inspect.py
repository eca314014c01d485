"""``onggi container inspect``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.inspecting import FORMAT, print_objects
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print all facts about containers."""
    query = {"size": True} if options.on("size") else None
    return print_objects(
        cli,
        arguments,
        lambda name: cli.engine.get(f"/containers/{quote(name.strip('/'))}/json", query),
        options.text("format"),
    )


COMMAND = Command(
    "container inspect [OPTIONS] CONTAINER [CONTAINER...]",
    "Show all facts about containers",
    run,
    flags=(FORMAT, ("size", "s", "bool", "", "Measure the container's files too")),
    arguments=(1, None),
)
