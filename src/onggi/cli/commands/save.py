"""``onggi save``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.output import save
from onggi.cli.platform import asked


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Write images to a tar archive."""
    platform = asked(options, "invalid platform: ")
    query = {"names": arguments, "platform": platform}
    return save(cli, options, "/images/get", "failed to save image", query)


COMMAND = Command(
    "save [OPTIONS] IMAGE [IMAGE...]",
    run,
    about="Write images to a tar archive, on standard output by default",
    flags=(
        ("output", "o", "string", "", "Write to this file"),
        ("platform", "", "string", "", "Write only this platform, os[/arch[/variant]]"),
    ),
    arguments=(1, None),
)
