"""``onggi restart``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.containers import STOP_FLAGS, path, stop_query, void

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Stop and start containers and print their names."""
    query = stop_query(options)
    return cli.each(arguments, lambda name: void(cli.engine.post(f"{path(name)}/restart", query)))


COMMAND = Command(
    "restart [OPTIONS] CONTAINER [CONTAINER...]",
    "Stop and start containers",
    run,
    flags=STOP_FLAGS,
    arguments=(1, None),
    aliases=("container restart", "restart"),
)
