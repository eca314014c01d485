"""``onggi create``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.launch import Plan, create, prepare
from onggi.cli.runflags import CONTAINER_FLAGS


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Create a container and print its ID."""
    plan = Plan(options, arguments, "create")
    prepare(cli, plan)
    cli.out(create(cli, plan))


COMMAND = Command(
    "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
    run,
    flags=CONTAINER_FLAGS,
    arguments=(0, None),
    interspersed=False,
)
