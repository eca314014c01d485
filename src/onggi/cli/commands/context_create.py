"""``onggi context create``."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options
from onggi.cli.context_values import (
    DEFAULT_ABOUT,
    DESCRIPTION,
    DOCKER_FLAG,
    contexts,
    current,
    refuse_existing,
    told,
    typed_endpoint,
)
from onggi.client.contexts import DEFAULT, DOCKER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli
    from onggi.client.contexts import Contexts


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Keep a context: as described, or like another one, or like what is current."""
    store, name, source = contexts(cli), arguments[0], options.text("from")
    refuse_existing(store, name)
    if source or "docker" not in options.given:
        if options.many("docker"):
            raise Failure("cannot use --docker flag when --from is set")
        _copy(store, source or current(cli), name, options.text("description"))
        return told(cli, name, "created")
    endpoint, files = typed_endpoint(store, options)
    described = {"Description": options.text("description")} if options.text("description") else {}
    store.put({"Name": name, "Metadata": described, "Endpoints": {DOCKER: endpoint}})
    store.set_tls(name, DOCKER, files)
    return told(cli, name, "created")


def _copy(store: Contexts, source: str, name: str, description: str) -> None:
    meta = store.get(source)
    if source == DEFAULT:
        description = description or DEFAULT_ABOUT
    described = {**(meta.get("Metadata") or {}), **({"Description": description} if description else {})}
    store.put({**meta, "Name": name, "Metadata": described})
    for endpoint, files in store.tls(source).items():
        store.set_tls(name, endpoint, files)


COMMAND = Command(
    "context create [OPTIONS] CONTEXT",
    "Create a context",
    run,
    flags=(DESCRIPTION, DOCKER_FLAG, ("from", "", "string", "", "Make it like this context")),
    arguments=(1, 1),
)
