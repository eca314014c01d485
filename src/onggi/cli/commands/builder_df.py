"""``onggi builder df``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.commands.system_df import cache_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print what builds keep, and how much that is."""
    usage = cli.engine.get("/system/df", {"type": "build-cache"})
    print(cache_table(usage.get("BuildCache") or []), end="")
    return 0


COMMAND = Command("builder df", "Show what builds keep to be fast again", run)
