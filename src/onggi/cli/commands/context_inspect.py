"""``onggi context inspect``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.context_values import contexts, current
from onggi.cli.inspecting import FORMAT, print_objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.context import Cli

    Json = Any


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print all facts about contexts; the current one if none is named."""
    store = contexts(cli)

    def look_up(name: str) -> Json:
        meta = store.get(name)
        files = {endpoint: list(found) for endpoint, found in store.tls(name).items()}
        return {**meta, "TLSMaterial": files, "Storage": store.storage(name)}

    return print_objects(cli, arguments or [current(cli)], look_up, options.text("format"), local=True)


COMMAND = Command(
    "context inspect [OPTIONS] [CONTEXT] [CONTEXT...]",
    "Show all facts about contexts",
    run,
    flags=(FORMAT,),
    arguments=(0, None),
)
