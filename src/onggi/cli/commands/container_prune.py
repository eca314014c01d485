"""``onggi container prune``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.commands.system_prune import confirmed
from onggi.cli.filters import prune_filters
from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove all stopped containers after a question."""
    if options.on("force") or confirmed("WARNING! This will remove all stopped containers."):
        cli.out(f"Total reclaimed space: {human_size(prune_containers(cli, options))}")
    return 0


def prune_containers(cli: Cli, options: Options) -> int:
    """Remove stopped containers and print their ids; returns the bytes that this freed."""
    wanted = prune_filters(cli.config(), options.many("filter"))
    answer = cli.engine.post("/containers/prune", {"filters": wanted})
    deleted = answer.get("ContainersDeleted") or []
    if deleted:
        cli.out("Deleted Containers:\n" + "\n".join(deleted) + "\n")
    return int(answer.get("SpaceReclaimed") or 0)


COMMAND = Command(
    "container prune [OPTIONS]",
    "Remove all stopped containers",
    run,
    flags=(
        ("filter", "", "filter", "", 'Remove only what matches (e.g. "until=<timestamp>")'),
        ("force", "f", "bool", "", "Do not ask"),
    ),
)
