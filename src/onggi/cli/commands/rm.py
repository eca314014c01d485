"""``onggi rm``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.containers import path
from onggi.client.errors import ClientError, EngineError


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove containers and print their names."""
    query = {
        "force": options.on("force") or None,
        "link": options.on("link") or None,
        "v": options.on("volumes") or None,
    }

    def remove(name: str) -> None:
        try:
            cli.engine.delete(path(name), query)
        except EngineError as error:
            if not (options.on("force") and error.status == 404):
                raise
            cli.err(str(error))  # said, and no failure
            raise ClientError("") from None

    return cli.each(arguments, remove)


COMMAND = Command(
    "rm [OPTIONS] CONTAINER [CONTAINER...]",
    run,
    flags=(
        ("force", "f", "bool", "", "Kill a running container first"),
        ("link", "l", "bool", "", "Remove the link, not the container"),
        ("volumes", "v", "bool", "", "Remove anonymous volumes too"),
    ),
    arguments=(1, None),
)
