"""``onggi top``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.containers import path
from onggi.cli.table import align

_COLUMN = 20


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Print the processes of a container; what follows its name goes to ps(1)."""
    query = {"ps_args": " ".join(arguments[1:]) or None}
    answer = cli.engine.get(f"{path(arguments[0])}/top", query)
    lines = [answer["Titles"], *(answer["Processes"] or [])]
    cli.out(align("\n".join("\t".join(line) for line in lines), minimum=_COLUMN))


COMMAND = Command(
    "top CONTAINER [ps OPTIONS]",
    run,
    arguments=(1, None),
    interspersed=False,
)
