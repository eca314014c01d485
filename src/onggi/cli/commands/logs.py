"""``onggi logs``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.containers import path
from onggi.cli.times import moment
from onggi.client.frames import demultiplex
from onggi.client.streams import write_all
from onggi.frames import STDERR


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Print the output that a container's log driver kept."""
    name = arguments[0]
    query = {
        "details": options.on("details") or None,
        "follow": options.on("follow") or None,
        "since": moment(options, "since", 'invalid value for "since": {}'),
        "stderr": True,
        "stdout": True,
        "tail": options.text("tail"),
        "timestamps": options.on("timestamps") or None,
        "until": moment(options, "until", 'invalid value for "until": {}'),
    }
    tty = bool(cli.engine.get(f"{path(name)}/json")["Config"]["Tty"])
    response = cli.engine.request("GET", f"{path(name)}/logs", query)
    for kind, payload in demultiplex(response.chunks(), framed=not tty):
        write_all(2 if kind == STDERR else 1, payload)


COMMAND = Command(
    "logs [OPTIONS] CONTAINER",
    run,
    flags=(
        ("details", "", "bool", "", "Show the extra attributes of each line"),
        ("follow", "f", "bool", "", "Go on as output comes"),
        ("since", "", "string", "", 'Begin at a time ("2013-01-02T13:23:37Z") or an age ("42m")'),
        ("tail", "n", "string", "all", "Begin with this many lines from the end"),
        ("timestamps", "t", "bool", "", "Show the time of each line"),
        ("until", "", "string", "", 'End before a time ("2013-01-02T13:23:37Z") or an age ("42m")'),
    ),
    arguments=(1, 1),
)
