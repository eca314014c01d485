"""``onggi kill``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.containers import path, void

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Kill running containers and print their names."""
    query = {"signal": options.text("signal") or None}
    return cli.each(arguments, lambda name: void(cli.engine.post(f"{path(name)}/kill", query)))


COMMAND = Command(
    "kill [OPTIONS] CONTAINER [CONTAINER...]",
    "Kill running containers",
    run,
    flags=(("signal", "s", "string", "", "Signal to send instead of KILL"),),
    arguments=(1, None),
    aliases=("container kill", "kill"),
)
