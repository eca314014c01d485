"""``onggi image prune``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.commands.system_prune import FLAGS, confirmed, prune_images, unused
from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove unused images after a question."""
    if options.on("force") or confirmed(f"WARNING! This will remove {unused(options)}."):
        cli.out(f"Total reclaimed space: {human_size(prune_images(cli, options))}")
    return 0


COMMAND = Command("image prune [OPTIONS]", "Remove unused images", run, flags=FLAGS)
