"""``onggi network inspect``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.inspecting import FORMAT, print_objects
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print all facts about networks."""
    query = {"verbose": True if options.on("verbose") else None}
    return print_objects(
        cli, arguments, lambda name: cli.engine.get(f"/networks/{quote(name)}", query), options.text("format")
    )


COMMAND = Command(
    "network inspect [OPTIONS] NETWORK [NETWORK...]",
    "Show all facts about networks",
    run,
    flags=(FORMAT, ("verbose", "v", "bool", "", "Show what helps to find faults")),
    arguments=(1, None),
)
