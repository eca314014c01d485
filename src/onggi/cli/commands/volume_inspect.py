"""``onggi volume inspect``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.inspecting import FORMAT, print_objects
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print all facts about volumes."""
    return print_objects(
        cli, arguments, lambda name: cli.engine.get(f"/volumes/{quote(name)}"), options.text("format")
    )


COMMAND = Command(
    "volume inspect [OPTIONS] VOLUME [VOLUME...]",
    "Show all facts about volumes",
    run,
    flags=(FORMAT,),
    arguments=(1, None),
)
