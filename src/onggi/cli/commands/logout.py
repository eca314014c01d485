"""``onggi logout``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.client.config import ConfigFile
from onggi.client.credentials import HUB_KEY, Store, hostname
from onggi.client.errors import ClientError


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Forget the credentials of a registry."""
    typed = arguments[0] if arguments else ""
    host = hostname(typed) if typed else HUB_KEY
    # Older clients kept credentials under any of these.
    names = [typed, host, f"http://{host}", f"https://{host}"] if typed else [HUB_KEY]
    cli.out(f"Removing login credentials for {host}")
    config, errors = ConfigFile(cli.env), dict[str, str]()
    for name in names:
        try:
            Store(config, name, cli.env).erase()
        except ClientError as error:
            errors[name] = str(error)
    if len(errors) == len(set(names)):
        cli.err("WARNING: could not erase credentials:")
        for name, words in errors.items():
            cli.err(f"{name}: {words}")


COMMAND = Command(
    "logout [SERVER]",
    run,
    about="Forget the credentials of a registry (Docker Hub if no server is named)",
    arguments=(0, 1),
)
