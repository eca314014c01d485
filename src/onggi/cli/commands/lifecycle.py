"""``onggi kill``, ``pause``, ``restart``, ``stop`` and ``unpause``: one call for each container named."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Flag, Options
from onggi.cli.containers import path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


STOP_FLAGS: tuple[Flag, ...] = (
    ("signal", "s", "string", "", "Signal that asks to stop"),
    ("time", "", "int", "", ""),
    ("timeout", "t", "int", "", "Seconds to wait before the kill"),
)


def _command(verb: str, flags: tuple[Flag, ...] = ()) -> Command:
    def run(cli: Cli, options: Options, arguments: list[str]) -> int:
        """Do it to each container and print the names."""
        query = _query(options, flags)
        return cli.each(arguments, lambda name: cli.engine.post(f"{path(name)}/{verb}", query))

    use = f"{verb} {'[OPTIONS] ' if flags else ''}CONTAINER [CONTAINER...]"
    return Command(use, run, flags=flags, arguments=(1, None))


def _query(options: Options, flags: tuple[Flag, ...]) -> dict[str, Any]:
    query: dict[str, Any] = {"signal": options.text("signal") or None} if flags else {}
    for name in ("time", "timeout"):
        if name in options.given:
            query["t"] = options.number(name)
    return query


KILL = _command("kill", (("signal", "s", "string", "", "Signal to send instead of KILL"),))
PAUSE = _command("pause")
RESTART = _command("restart", STOP_FLAGS)
STOP = _command("stop", STOP_FLAGS)
UNPAUSE = _command("unpause")
