"""``onggi container prune``."""

from __future__ import annotations

import sys

from onggi.cli.command import Command, Options
from onggi.cli.filters import prune_filters
from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli

_WARNING = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] "


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove all stopped containers after a question."""
    if not options.on("force") and not _confirmed():
        return 0
    wanted = prune_filters(cli.config(), options.many("filter"))
    answer = cli.engine.post("/containers/prune", {"filters": wanted})
    deleted = answer.get("ContainersDeleted") or []
    if deleted:
        cli.out("Deleted Containers:\n" + "\n".join(deleted) + "\n")
    cli.out(f"Total reclaimed space: {human_size(answer.get('SpaceReclaimed') or 0)}")
    return 0


def _confirmed() -> bool:
    sys.stdout.write(_WARNING)
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


COMMAND = Command(
    "container prune [OPTIONS]",
    "Remove all stopped containers",
    run,
    flags=(
        ("filter", "", "filter", "", 'Remove only what matches (e.g. "until=<timestamp>")'),
        ("force", "f", "bool", "", "Do not ask"),
    ),
)
