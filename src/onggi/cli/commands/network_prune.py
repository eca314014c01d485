"""``onggi network prune``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.commands.system_prune import confirmed
from onggi.cli.filters import prune_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli

_WARNING = "WARNING! This will remove all custom networks not used by at least one container."


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove networks that no container is connected to, after a question."""
    if options.on("force") or confirmed(_WARNING):
        prune_networks(cli, options.many("filter"))
    return 0


def prune_networks(cli: Cli, typed: list[str]) -> None:
    """Remove unused networks and print their names."""
    answer = cli.engine.post("/networks/prune", {"filters": prune_filters(cli.config(), typed)})
    deleted = answer.get("NetworksDeleted") or []
    if deleted:
        cli.out("Deleted Networks:\n" + "\n".join(deleted) + "\n")


COMMAND = Command(
    "network prune [OPTIONS]",
    "Remove unused networks",
    run,
    flags=(
        ("filter", "", "filter", "", 'Remove only what matches (e.g. "until=<timestamp>")'),
        ("force", "f", "bool", "", "Do not ask"),
    ),
)
