"""``onggi volume export``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.output import Output
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Write the content of a volume to a tar archive."""
    output = Output(options.text("output"), "failed to export volume")
    try:
        path = f"/onggi/v1/volumes/{quote(arguments[0])}/archive"
        output.write(cli.engine.request("GET", path).chunks())
    finally:
        output.discard()
    return 0


COMMAND = Command(
    "volume export [OPTIONS] VOLUME",
    "Write the content of a volume to a tar archive",
    run,
    flags=(("output", "o", "string", "", "Write to this file instead of standard output"),),
    arguments=(1, 1),
)
