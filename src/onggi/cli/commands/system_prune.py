"""``onggi system prune``: remove what nothing uses."""

from __future__ import annotations

import sys

from onggi.cli.command import Command, Failure, Options
from onggi.cli.filters import prune_filters
from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.context import Cli

    Json = Any

FLAGS = (
    ("all", "a", "bool", "", "Remove all images that no container uses, not only those without a name"),
    ("filter", "", "filter", "", 'Remove only what matches (e.g. "until=<timestamp>")'),
    ("force", "f", "bool", "", "Do not ask"),
)


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove stopped containers, unused networks, images and, if asked to, volumes, after a question."""
    if options.on("volumes") and any(text.startswith("until=") for text in options.many("filter")):
        raise Failure('ERROR: The "until" filter is not supported with "--volumes"')
    volumes = (
        "  - all anonymous volumes not used by at least one container\n" if options.on("volumes") else ""
    )
    networks = "  - all networks not used by at least one container\n"
    warning = "WARNING! This will remove:\n  - all stopped containers\n"
    cache = f"  - {'all' if options.on('all') else 'unused'} build cache\n"
    warning += f"{networks}{volumes}  - {unused(options)}\n{cache}"
    if not options.on("force") and not confirmed(warning):
        return 0
    from onggi.cli.commands.container_prune import prune_containers

    freed = prune_containers(cli, options)
    _networks(cli, options)
    freed += _volumes(cli, options) if options.on("volumes") else 0
    freed += prune_images(cli, options)
    freed += _cache(cli, options)
    cli.out(f"Total reclaimed space: {human_size(freed)}")
    return 0


def _networks(cli: Cli, options: Options) -> None:
    from onggi.cli.commands.network_prune import prune_networks

    prune_networks(cli, options.many("filter"))


def _volumes(cli: Cli, options: Options) -> int:
    from onggi.cli.commands.volume_prune import prune_volumes

    return prune_volumes(cli, options.many("filter"))


def _cache(cli: Cli, options: Options) -> int:
    from onggi.cli.commands.builder_prune import prune_cache

    return prune_cache(cli, options)


def unused(options: Options) -> str:
    """Return which images a prune removes."""
    every = "all images without at least one container associated to them"
    return every if options.on("all") else "all dangling images"


def confirmed(warning: str) -> bool:
    """Ask, and return whether the answer was yes."""
    sys.stdout.write(f"{warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


def prune_images(cli: Cli, options: Options) -> int:
    """Remove images that no container uses and print them; returns the bytes that this freed."""
    dangling = f"dangling={'false' if options.on('all') else 'true'}"
    wanted = prune_filters(cli.config(), [*options.many("filter"), dangling])
    answer = cli.engine.post("/images/prune", {"filters": wanted})
    deleted = answer.get("ImagesDeleted") or []
    if deleted:
        lines = [f"{kind.lower()}: {name}" for entry in deleted for kind, name in entry.items()]
        cli.out("Deleted Images:\n" + "\n".join(lines) + "\n")
    return int(answer.get("SpaceReclaimed") or 0)


COMMAND = Command(
    "system prune [OPTIONS]",
    "Remove what nothing uses",
    run,
    flags=(*FLAGS, ("volumes", "", "bool", "", "Remove anonymous volumes too")),
)
