"""``onggi builder prune``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.commands.system_prune import confirmed
from onggi.cli.filters import prune_filters
from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.context import Cli

    Json = Any

_SIZES = ("keep-storage", "reserved-space", "max-used-space", "min-free-space")


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove what builds keep, after a question."""
    every = "all build cache" if options.on("all") else "all dangling build cache"
    if not options.on("force") and not confirmed(f"WARNING! This will remove {every}."):
        return 0
    cli.out(f"Total reclaimed space: {human_size(prune_cache(cli, options))}")
    return 0


def prune_cache(cli: Cli, options: Options) -> int:
    """Remove what builds keep and print it; returns the bytes that this freed."""
    query: dict[str, Json] = {name: options.number(name) or None for name in _SIZES if name in options.given}
    query |= {
        "all": True if options.on("all") else None,
        "filters": prune_filters(cli.config(), options.many("filter")),
    }
    answer = cli.engine.post("/build/prune", query)
    deleted = answer.get("CachesDeleted") or []
    if deleted:
        cli.out("Deleted build cache objects:\n" + "\n".join(deleted) + "\n")
    return int(answer.get("SpaceReclaimed") or 0)


COMMAND = Command(
    "builder prune",
    "Remove what builds keep to be fast again",
    run,
    flags=(
        ("all", "a", "bool", "", "Remove also what images use"),
        ("filter", "", "filter", "", 'Remove only what matches (e.g. "until=24h")'),
        ("force", "f", "bool", "", "Do not ask"),
        ("keep-storage", "", "bytes", "", "The same as --reserved-space"),
        ("max-used-space", "", "bytes", "", "Remove what was not used for longest until no more is taken"),
        ("min-free-space", "", "bytes", "", "Remove what was not used for longest until so much is free"),
        ("reserved-space", "", "bytes", "", "Amount that stays whatever else is asked"),
    ),
)
