"""``build --debug``: the shell of a step that failed, on the person's terminal."""

from __future__ import annotations

import os

from onggi.cli.command import PROGRAM, Cli, Failure, Options
from onggi.cli.containers import path
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json


def refuse(options: Options) -> None:
    """Raise Failure where nobody could use a shell."""
    if options.on("debug") and not (os.isatty(0) and os.isatty(1)):
        raise Failure("--debug opens a shell: standard input and output must be a terminal", 125)


def enter(cli: Cli, offered: Json) -> None:
    """Start the container that the engine offers, joined to this terminal, and remove it."""
    from onggi.cli.commands.start import COMMAND as START
    from onggi.cli.parser import parse

    container, image = offered["Container"], offered["Image"].removeprefix("sha256:")[:12]
    cli.err(f"A shell in the state before this step (later: {PROGRAM} run --rm -it {image} sh):")
    try:
        options, names = parse(["--attach", "--interactive", container], START.flags)
        START.run(cli, options, names)
    except (ClientError, Failure) as error:
        cli.err(str(error))
    finally:
        cli.engine.request("DELETE", path(container), {"force": True, "v": True}).read()
