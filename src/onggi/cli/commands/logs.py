"""``onggi logs``."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options
from onggi.cli.containers import path
from onggi.client.frames import STDERR, demultiplex
from onggi.client.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print the output that a container's log driver kept."""
    name = arguments[0]
    query = {
        "details": options.on("details") or None,
        "follow": options.on("follow") or None,
        "since": _moment(options, "since"),
        "stderr": True,
        "stdout": True,
        "tail": options.text("tail"),
        "timestamps": options.on("timestamps") or None,
        "until": _moment(options, "until"),
    }
    tty = bool(cli.engine.get(f"{path(name)}/json")["Config"]["Tty"])
    response = cli.engine.request("GET", f"{path(name)}/logs", query)
    for kind, payload in demultiplex(response.chunks(), framed=not tty):
        write_all(2 if kind == STDERR else 1, payload)
    return 0


def _moment(options: Options, name: str) -> str | None:
    if not options.text(name):
        return None
    from onggi.cli.times import parse_moment

    try:
        return parse_moment(options.text(name))
    except ValueError as error:
        raise Failure(f'invalid value for "{name}": {error}') from None


COMMAND = Command(
    "logs [OPTIONS] CONTAINER",
    "Show the output of a container",
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
    aliases=("container logs", "logs"),
)
