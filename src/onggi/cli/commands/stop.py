"""``onggi stop``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.containers import STOP_FLAGS, path, stop_query, void

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Stop running containers and print their names."""
    query = stop_query(options)
    return cli.each(arguments, lambda name: void(cli.engine.post(f"{path(name)}/stop", query)))


COMMAND = Command(
    "stop [OPTIONS] CONTAINER [CONTAINER...]",
    "Stop running containers",
    run,
    flags=STOP_FLAGS,
    arguments=(1, None),
    aliases=("container stop", "stop"),
)
