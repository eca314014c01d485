"""``onggi unpause``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.containers import path, void

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Thaw all processes of containers and print their names."""
    return cli.each(arguments, lambda name: void(cli.engine.post(f"{path(name)}/unpause")))


COMMAND = Command(
    "unpause CONTAINER [CONTAINER...]",
    "Thaw all processes of containers",
    run,
    arguments=(1, None),
    aliases=("container unpause", "unpause"),
)
