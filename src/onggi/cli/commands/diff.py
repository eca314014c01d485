"""``onggi diff``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.client.engine import quote

_KINDS = {0: "C", 1: "A", 2: "D"}


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Print what a container changed in its file system: C changed, A added, D deleted."""
    if not arguments[0]:
        raise Failure("Container name cannot be empty")
    for change in cli.engine.get(f"/containers/{quote(arguments[0])}/changes") or []:
        cli.out(f"{_KINDS.get(change.get('Kind') or 0, '')} {change.get('Path', '')}")


COMMAND = Command(
    "diff CONTAINER",
    run,
    arguments=(1, 1),
)
