"""``onggi network rm``."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options
from onggi.client.engine import quote
from onggi.client.errors import ClientError, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove networks."""
    if cli.each(arguments, lambda name: _remove(cli, name, options.on("force"))):
        raise Failure("exit status 1")  # docker's last line, too
    return 0


def _remove(cli: Cli, name: str, force: bool) -> None:
    try:
        cli.engine.delete(f"/networks/{quote(name)}")
    except EngineError as error:
        if not (force and error.status == 404):
            raise
        raise ClientError("") from None


COMMAND = Command(
    "network rm NETWORK [NETWORK...]",
    "Remove networks that no container is connected to",
    run,
    flags=(("force", "f", "bool", "", "A network that does not exist is no failure"),),
    arguments=(1, None),
    aliases=("network rm", "network remove"),
)
