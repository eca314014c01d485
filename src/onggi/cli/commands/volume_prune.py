"""``onggi volume prune``."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options
from onggi.cli.commands.system_prune import confirmed
from onggi.cli.filters import prune_filters
from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove volumes that no container uses, after a question."""
    typed = options.many("filter")
    if options.on("all"):
        if any(text.startswith("all=") for text in typed):
            raise Failure("conflicting options: cannot specify both --all and --filter all=1")
        typed = [*typed, "all=true"]
    kind = "all" if options.on("all") else "anonymous"
    warning = f"WARNING! This will remove {kind} local volumes not used by at least one container."
    if options.on("force") or confirmed(warning):
        freed = prune_volumes(cli, typed)
        cli.out(f"Total reclaimed space: {human_size(freed)}")
    return 0


def prune_volumes(cli: Cli, typed: list[str]) -> int:
    """Remove unused volumes and print their names; returns the bytes that this freed."""
    answer = cli.engine.post("/volumes/prune", {"filters": prune_filters(cli.config(), typed)})
    deleted = answer.get("VolumesDeleted") or []
    if deleted:
        cli.out("Deleted Volumes:\n" + "\n".join(deleted) + "\n")
    return int(answer.get("SpaceReclaimed") or 0)


COMMAND = Command(
    "volume prune [OPTIONS]",
    "Remove unused volumes",
    run,
    flags=(
        ("all", "a", "bool", "", "Remove all that no container uses, not only those without a name"),
        ("filter", "", "filter", "", 'Remove only what matches (e.g. "label=<label>")'),
        ("force", "f", "bool", "", "Do not ask"),
    ),
)
