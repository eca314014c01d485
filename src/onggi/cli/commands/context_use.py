"""``onggi context use``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.context_values import contexts, overridden
from onggi.client.config import ConfigFile
from onggi.client.contexts import DEFAULT, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Have commands use a context from now on."""
    name = arguments[0]
    if name != DEFAULT:
        check_name(name)
        contexts(cli).get(name)
    config, value = ConfigFile(cli.env), "" if name == DEFAULT else name
    if str(config.values.get("currentContext") or "") != value:
        config.values.pop("currentContext", None)
        if value:
            config.values["currentContext"] = value
        config.save()
    cli.out(name)
    cli.err(f'Current context is now "{name}"')
    if value:
        overridden(cli, name)
    return 0


COMMAND = Command("context use CONTEXT", "Use a context from now on", run, arguments=(1, 1))
