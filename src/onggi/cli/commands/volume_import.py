"""``onggi volume import``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.input import pieces
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Unpack a tar archive, plain or compressed, into a volume."""
    body = pieces(arguments[1] if len(arguments) > 1 else "-")
    path = f"/onggi/v1/volumes/{quote(arguments[0])}/archive"
    cli.engine.request("PUT", path, None, body, {"Content-Type": "application/x-tar"}).read()
    cli.out(arguments[0])
    return 0


COMMAND = Command(
    "volume import VOLUME [file|-]",
    "Unpack a tar archive into a volume; what is there is merged with what comes",
    run,
    arguments=(1, 2),
)
