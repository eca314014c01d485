"""``onggi wait``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.containers import path


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Wait for each container and print its exit code."""

    def wait(name: str) -> None:
        cli.out(str(cli.engine.post(f"{path(name)}/wait")["StatusCode"]))

    return 1 if cli.in_turn(arguments, wait) else 0


COMMAND = Command(
    "wait CONTAINER [CONTAINER...]",
    run,
    arguments=(1, None),
)
