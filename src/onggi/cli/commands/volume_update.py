"""``onggi volume update``: docker has it for volumes of a swarm."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Refuse: only volumes of a swarm can be changed."""
    raise Failure("can only update cluster volumes, and this engine has no swarm")


COMMAND = Command(
    "volume update [OPTIONS] [VOLUME]",
    "Refused: only volumes of a swarm can be changed",
    run,
    flags=(("availability", "", "string", "active", "Availability of a volume of a swarm"),),
    arguments=(0, 1),
)
