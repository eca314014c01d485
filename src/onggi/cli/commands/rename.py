"""``onggi rename``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.containers import path
from onggi.client.errors import ClientError


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Give a container another name."""
    old, new = (name.strip() for name in arguments)
    if not old or not new:
        raise Failure("Error: Neither old nor new names may be empty")
    try:
        cli.engine.post(f"{path(old)}/rename", {"name": new})
    except ClientError as error:
        cli.err(str(error))
        raise Failure(f"Error: failed to rename container named {old}") from None


COMMAND = Command(
    "rename CONTAINER NEW_NAME",
    run,
    arguments=(2, 2),
)
