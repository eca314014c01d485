"""``onggi daemon``: becomes the engine; its flags are read there."""

from __future__ import annotations

import os

from onggi.cli.command import Cli, Command, Options
from onggi.client.spawn import command_line


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Replace this process by the engine."""
    argv = command_line(arguments)
    os.execv(argv[0], argv)


COMMAND = Command("daemon [OPTIONS]", "Serve as an engine in the foreground", run, flags=None)
