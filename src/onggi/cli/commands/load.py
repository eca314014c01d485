"""``onggi load``."""

from __future__ import annotations

import os

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.input import pieces
from onggi.cli.platform import asked
from onggi.cli.progress import show
from onggi.client.streams import write_all


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Read images from a tar archive; the engine finds out how it is compressed."""
    if not options.text("input") and os.isatty(0):
        raise Failure("requested load from stdin, but stdin is empty")
    body = pieces(options.text("input") or "-")
    quiet = options.on("quiet") or not os.isatty(1)
    query = {"quiet": quiet, "platform": asked(options, "invalid platform: ")}
    headers = {"Content-Type": "application/x-tar"}
    response = cli.engine.request("POST", "/images/load", query, body, headers)
    if response.headers.get("content-type") == "application/json":
        show(cli.engine.messages(response))
    else:
        for piece in response.chunks():
            write_all(1, piece)


COMMAND = Command(
    "load [OPTIONS]",
    run,
    about="Read images from a tar archive, from standard input by default",
    flags=(
        ("input", "i", "string", "", "Read from this file"),
        ("platform", "", "string", "", "Read only this platform, os[/arch[/variant]]"),
        ("quiet", "q", "bool", "", "Do not show the progress"),
    ),
)
