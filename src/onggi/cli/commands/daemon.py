"""``onggi daemon``: becomes the engine; its flags are read there."""

from __future__ import annotations

import os
import sys

from onggi.cli.command import Cli, Command, Options

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from onggi.daemon.main import main; sys.exit(main(sys.argv[1:]))"
)


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Replace this process by the engine."""
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    os.execv(sys.executable, [sys.executable, "-I", "-c", _BOOT, source, *arguments])


COMMAND = Command("daemon [OPTIONS]", "Serve as an engine in the foreground", run, flags=None)
