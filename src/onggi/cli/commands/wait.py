"""``onggi wait``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.containers import path
from onggi.client.errors import ClientError


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Wait for each container and print its exit code."""
    status = 0
    for name in arguments:
        try:
            cli.out(str(cli.engine.post(f"{path(name)}/wait")["StatusCode"]))
        except ClientError as error:
            cli.err(str(error))
            status = 1
    return status


COMMAND = Command(
    "wait CONTAINER [CONTAINER...]",
    "Wait for containers to stop and print their exit codes",
    run,
    arguments=(1, None),
    aliases=("container wait", "wait"),
)
