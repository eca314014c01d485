"""``onggi context show``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.context_values import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print the name of the context that commands use."""
    cli.out(current(cli))
    return 0


COMMAND = Command("context show", "Print the name of the current context", run)
