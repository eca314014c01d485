"""``onggi context rm``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.context_values import contexts, current
from onggi.client.config import ConfigFile
from onggi.client.contexts import DEFAULT
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli
    from onggi.client.contexts import Contexts


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Forget contexts and print their names."""
    store, used, errors = contexts(cli), current(cli), list[str]()
    for name in arguments:
        try:
            _remove(cli, store, name, name == used, options.on("force"))
            cli.out(name)
        except ClientError as error:
            errors.append(str(error))
    for sentence in errors:
        cli.err(sentence)
    return 1 if errors else 0


def _remove(cli: Cli, store: Contexts, name: str, used: bool, force: bool) -> None:
    if name == DEFAULT:
        raise ClientError(f'context "{DEFAULT}" cannot be removed')
    if used and not force:
        raise ClientError(f'context "{name}" is in use, set -f flag to force remove')
    if used:
        config = ConfigFile(cli.env)
        config.values.pop("currentContext", None)
        config.save()
    if not force and not store.exists(name):
        raise ClientError(f'context "{name}" does not exist')
    store.remove(name)


COMMAND = Command(
    "context rm CONTEXT [CONTEXT...]",
    "Remove contexts",
    run,
    flags=(("force", "f", "bool", "", "Remove a context that is in use, and ignore one that is not there"),),
    arguments=(1, None),
    aliases=("context rm", "context remove"),
)
