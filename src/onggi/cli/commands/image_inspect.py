"""``onggi image inspect``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.inspecting import FORMAT, print_objects
from onggi.cli.platform import asked
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print all facts about images."""
    query = {"platform": asked(options)}
    return print_objects(
        cli,
        arguments,
        lambda name: cli.engine.get(f"/images/{quote(name, b'/:')}/json", query),
        options.text("format"),
    )


COMMAND = Command(
    "image inspect [OPTIONS] IMAGE [IMAGE...]",
    "Show all facts about images",
    run,
    flags=(FORMAT, ("platform", "", "string", "", "Platform to show, os[/arch[/variant]]")),
    arguments=(1, None),
)
