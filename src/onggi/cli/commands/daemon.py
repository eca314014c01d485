"""``onggi daemon``: becomes the engine; its flags are read there."""

from __future__ import annotations

import os

from onggi.cli.command import Cli, Command, Options
from onggi.interpreter import engine_command, engine_environment


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Replace this process by the engine."""
    argv = engine_command(*arguments)
    os.execve(argv[0], argv, engine_environment(os.environ))


COMMAND = Command("daemon [OPTIONS]", run, flags=None)
