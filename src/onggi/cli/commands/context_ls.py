"""``onggi context ls``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.context_values import DEFAULT_ABOUT, contexts, current, overridden
from onggi.cli.filters import ellipsis
from onggi.cli.format import Row, render_rows
from onggi.client.contexts import DEFAULT, DOCKER
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.context import Cli
    from onggi.client.contexts import Contexts

    Json = Any

_TABLE = "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}"
_HEADERS: dict[str, Json] = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "DockerEndpoint": "DOCKER ENDPOINT",
    "Error": "ERROR",
    "Current": "",
}


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
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
    return 0


def _row(meta: Json, name: str) -> Row:
    described = meta.get("Metadata") or {}
    endpoint = (meta.get("Endpoints") or {}).get(DOCKER)
    about = DEFAULT_ABOUT if meta["Name"] == DEFAULT else str(described.get("Description") or "")
    row = Row(
        Name=meta["Name"],
        Current=meta["Name"] == name,
        Description=about,
        DockerEndpoint=str((endpoint or {}).get("Host") or ""),
        Error="" if endpoint is not None else 'cannot find docker endpoint in context "' + meta["Name"] + '"',
    )
    row.go_type = "*formatter.clientContextContext"
    return row


def _absent(store: Contexts, name: str) -> Row:
    try:
        store.get(name)
        reason = ""
    except ClientError as error:
        reason = str(error)
    row = Row(Name=name, Current=True, Description="", DockerEndpoint="", Error=ellipsis(reason, 45))
    row.go_type = "*formatter.clientContextContext"
    return row


COMMAND = Command(
    "context ls [OPTIONS]",
    "List contexts",
    run,
    flags=(
        ("format", "", "string", "", "How to print: 'table', 'table TEMPLATE', 'json', or a Go template"),
        ("quiet", "q", "bool", "", "Print names only"),
    ),
    aliases=("context ls", "context list"),
)
