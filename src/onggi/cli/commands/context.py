"""``onggi context``: ``create``, ``inspect``, ``ls``, ``rm``, ``show``, ``update`` and ``use``."""

from __future__ import annotations

from onggi.cli.command import FORMAT, LIST_FORMAT, Cli, Command, Failure, Options
from onggi.cli.context_values import (
    DEFAULT_ABOUT,
    DESCRIPTION,
    DOCKER_FLAG,
    contexts,
    current,
    overridden,
    refuse_existing,
    told,
    typed_endpoint,
)
from onggi.cli.filters import ellipsis
from onggi.cli.format import Row, headers, render_rows
from onggi.cli.inspecting import print_objects
from onggi.client.config import ConfigFile
from onggi.client.contexts import DEFAULT, DOCKER, check_name
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json
    from onggi.client.contexts import Contexts


def create(cli: Cli, options: Options, arguments: list[str]) -> int:
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


CREATE = Command(
    "context create [OPTIONS] CONTEXT",
    create,
    flags=(DESCRIPTION, DOCKER_FLAG, ("from", "", "string", "", "Make it like this context")),
    arguments=(1, 1),
)


def inspect(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print all facts about contexts; the current one if none is named."""
    store = contexts(cli)

    def look_up(name: str) -> Json:
        meta = store.get(name)
        files = {endpoint: list(found) for endpoint, found in store.tls(name).items()}
        return {**meta, "TLSMaterial": files, "Storage": store.storage(name)}

    return print_objects(cli, arguments or [current(cli)], look_up, options.text("format"), local=True)


INSPECT = Command(
    "context inspect [OPTIONS] [CONTEXT] [CONTEXT...]",
    inspect,
    flags=(FORMAT,),
    arguments=(0, None),
)


_TABLE = "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}"
_GO_TYPE = "*formatter.clientContextContext"
_HEADERS = headers("Name Description Docker_Endpoint Error", Current="")


def list_(cli: Cli, options: Options, arguments: list[str]) -> None:
    """List contexts."""
    store, name, form = contexts(cli), current(cli), options.text("format")
    rows = [_row(meta, name) for meta in store.list()]
    if not any(row["Current"] for row in rows):
        rows.append(_absent(store, name))
        rows.sort(key=lambda row: row["Name"])
    if options.on("quiet"):
        form = "{{.Name}}"
    print(render_rows(_TABLE if form in ("", "table") else form, rows, _HEADERS), end="")
    overridden(cli)


def _row(meta: Json, name: str) -> Row:
    described = meta.get("Metadata") or {}
    endpoint = (meta.get("Endpoints") or {}).get(DOCKER)
    about = DEFAULT_ABOUT if meta["Name"] == DEFAULT else str(described.get("Description") or "")
    return Row(
        _GO_TYPE,
        Name=meta["Name"],
        Current=meta["Name"] == name,
        Description=about,
        DockerEndpoint=str((endpoint or {}).get("Host") or ""),
        Error="" if endpoint is not None else 'cannot find docker endpoint in context "' + meta["Name"] + '"',
    )


def _absent(store: Contexts, name: str) -> Row:
    try:
        store.get(name)
        reason = ""
    except ClientError as error:
        reason = str(error)
    return Row(
        _GO_TYPE, Name=name, Current=True, Description="", DockerEndpoint="", Error=ellipsis(reason, 45)
    )


LS = Command(
    "context ls [OPTIONS]",
    list_,
    flags=(LIST_FORMAT, ("quiet", "q", "bool", "", "Print names only")),
)


def remove(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Forget contexts and print their names."""
    store, used, errors = contexts(cli), current(cli), list[ClientError]()
    for name in arguments:
        try:
            _remove(cli, store, name, name == used, options.on("force"))
            cli.out(name)
        except ClientError as error:
            errors.append(error)
    return cli.tell(errors)


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


RM = Command(
    "context rm CONTEXT [CONTEXT...]",
    remove,
    flags=(("force", "f", "bool", "", "Remove a context that is in use, and ignore one that is not there"),),
    arguments=(1, None),
)


def show(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Print the name of the context that commands use."""
    cli.out(current(cli))


SHOW = Command("context show", show)


def update(cli: Cli, options: Options, arguments: list[str]) -> int:
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


UPDATE = Command(
    "context update [OPTIONS] CONTEXT",
    update,
    flags=(DESCRIPTION, DOCKER_FLAG),
    arguments=(1, 1),
)


def use(cli: Cli, options: Options, arguments: list[str]) -> None:
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


USE = Command("context use CONTEXT", use, arguments=(1, 1))
