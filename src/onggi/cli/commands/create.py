"""``onggi create``."""

from __future__ import annotations

from onggi.cli.command import ArgumentError, Cli, Command, Options
from onggi.cli.launch import Plan, create, missing_image, prepare
from onggi.cli.runflags import CONTAINER_FLAGS

USE = "create [OPTIONS] IMAGE [COMMAND] [ARG...]"


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Create a container and print its ID."""
    try:
        plan = Plan(options, arguments, "create")
    except ArgumentError:
        raise missing_image("create", USE) from None
    prepare(cli, plan)
    cli.out(create(cli, plan))


COMMAND = Command(
    USE,
    "Create a container",
    run,
    flags=CONTAINER_FLAGS,
    arguments=(0, None),
    interspersed=False,
    aliases=("container create", "create"),
)
