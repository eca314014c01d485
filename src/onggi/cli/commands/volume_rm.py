"""``onggi volume rm``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove volumes with their content."""
    query = {"force": True if options.on("force") else None}
    return cli.each(arguments, lambda name: cli.engine.delete(f"/volumes/{quote(name)}", query))


COMMAND = Command(
    "volume rm [OPTIONS] VOLUME [VOLUME...]",
    "Remove volumes that no container uses, with their content",
    run,
    flags=(("force", "f", "bool", "", "A volume that does not exist is no failure"),),
    arguments=(1, None),
    aliases=("volume rm", "volume remove"),
)
