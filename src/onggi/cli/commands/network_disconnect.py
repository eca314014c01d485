"""``onggi network disconnect``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Take a container off a network."""
    body = {"Container": arguments[1], "Force": options.on("force")}
    cli.engine.post(f"/networks/{quote(arguments[0])}/disconnect", body=body)
    return 0


COMMAND = Command(
    "network disconnect [OPTIONS] NETWORK CONTAINER",
    "Take a container off a network",
    run,
    flags=(("force", "f", "bool", "", "Even if the container does not answer"),),
    arguments=(2, 2),
)
