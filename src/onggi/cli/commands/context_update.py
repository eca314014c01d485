"""``onggi context update``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.context_values import DESCRIPTION, DOCKER_FLAG, contexts, told, typed_endpoint
from onggi.client.contexts import DOCKER, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Change the note or the endpoint of a context."""
    store, name = contexts(cli), arguments[0]
    check_name(name)
    meta = store.get(name)
    described = dict(meta.get("Metadata") or {})
    if options.text("description"):
        described["Description"] = options.text("description")
    meta["Metadata"] = described
    if "docker" not in options.given:
        store.put(meta)
        return told(cli, name, "updated")
    endpoint, files = typed_endpoint(store, options)
    store.put({**meta, "Endpoints": {**(meta.get("Endpoints") or {}), DOCKER: endpoint}})
    store.set_tls(name, DOCKER, files)
    return told(cli, name, "updated")


COMMAND = Command(
    "context update [OPTIONS] CONTEXT",
    "Change a context",
    run,
    flags=(DESCRIPTION, DOCKER_FLAG),
    arguments=(1, 1),
)
