"""``onggi export``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.output import save
from onggi.client.engine import quote


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Write the file system of a container to a tar archive."""
    path = f"/containers/{quote(arguments[0])}/export"
    return save(cli, options, path, "failed to export container")


COMMAND = Command(
    "export [OPTIONS] CONTAINER",
    run,
    flags=(("output", "o", "string", "", "Write to this file instead of standard output"),),
    arguments=(1, 1),
)
