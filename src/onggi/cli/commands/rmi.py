"""``onggi rmi``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.client.engine import quote
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove images and print what was untagged and deleted."""
    query = {
        "force": True if options.on("force") else None,
        "noprune": True if options.on("no-prune") else None,
        "platforms": options.many("platform") or None,
    }
    status = 0
    for name in arguments:
        try:
            for item in cli.engine.delete(f"/images/{quote(name, b'/:')}", query) or []:
                cli.out(
                    f"Deleted: {item['Deleted']}" if item.get("Deleted") else f"Untagged: {item['Untagged']}"
                )
        except ClientError as error:
            cli.err(str(error))
            status = 1
    return status


COMMAND = Command(
    "rmi [OPTIONS] IMAGE [IMAGE...]",
    "Remove images",
    run,
    flags=(
        ("force", "f", "bool", "", "Remove the image even if containers refer to it"),
        ("no-prune", "", "bool", "", "Keep untagged parents"),
        ("platform", "", "strings", "", "Remove only this platform, os[/arch[/variant]]"),
    ),
    arguments=(1, None),
    aliases=("image rm", "image remove", "rmi"),
)
