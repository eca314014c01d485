"""``onggi __complete``: what the completion scripts of shells ask for."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.completion import complete


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Print the candidates for the last word, a line each: the word, a tab, what it means."""
    from onggi.cli.main import GLOBAL_FLAGS, load

    cli.start_engine = False
    for word, about in complete(cli, arguments, GLOBAL_FLAGS, load):
        cli.out(f"{word}\t{about}")


COMMAND = Command("__complete [WORD...]", run, about="Print what can follow the words", flags=None)
