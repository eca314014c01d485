"""``onggi version``."""

from __future__ import annotations

import os
import sys

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_DETAILS = (
    ("ApiVersion", "API version"),
    ("GoVersion", "Go version"),
    ("PythonVersion", "Python version"),
    ("GitCommit", "Git commit"),
    ("BuildTime", "Built"),
    ("Os", "OS/Arch"),
    ("Experimental", "Experimental"),
)
_TEXT_WIDTH = 18
_TEMPLATE_ERROR = 64


def version_line() -> str:
    """Return what ``onggi --version`` prints."""
    from onggi.version import VERSION, build_id

    return f"Onggi version {VERSION}, build {build_id().rpartition('-')[2]}"


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Print the versions of client and engine."""
    form, failure, server = options.text("format"), None, None
    client = _client(cli)
    try:
        server = cli.engine.get("/version")
    except ClientError as error:
        failure = error
    if form:
        from onggi.cli.template.gotypes import Fields

        names = {"APIVersion": "ApiVersion"}
        facts = {"Client": Fields(client, names), "Server": Fields(server, names) if server else None}
        _formatted(cli, form, facts)
    else:
        cli.out(_client_text(client) + (_server_text(server) if server else ""))
    if failure is not None:
        raise Failure(str(failure))


def _formatted(cli: Cli, form: str, value: Json) -> None:
    from onggi.cli.format import render_object

    try:
        cli.out(render_object(form, value))
    except Failure as failure:
        raise Failure(str(failure), _TEMPLATE_ERROR) from None


def _client(cli: Cli) -> dict[str, Json]:
    from onggi.version import API, VERSION, build_id

    machine = os.uname().machine
    return {
        "Version": VERSION,
        "ApiVersion": API,
        "DefaultAPIVersion": API,
        "GitCommit": build_id().rpartition("-")[2],
        "PythonVersion": sys.version.split()[0],
        "Os": "linux",
        "Arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "Context": cli.options.text("context") or cli.env.get("DOCKER_CONTEXT") or "default",
    }


def _client_text(client: dict[str, Json]) -> str:
    rows = (
        ("Version", client["Version"]),
        ("API version", client["ApiVersion"]),
        ("Python version", client["PythonVersion"]),
        ("Git commit", client["GitCommit"]),
        ("OS/Arch", f"{client['Os']}/{client['Arch']}"),
        ("Context", client["Context"]),
    )
    return "Client:\n" + "\n".join(f" {name + ':':<{_TEXT_WIDTH}} {value}" for name, value in rows)


def _server_text(server: Json) -> str:
    lines = ["", "", f"Server: {(server.get('Platform') or {}).get('Name', '')}".rstrip()]
    for component in server.get("Components") or []:
        lines.append(f" {component['Name']}:")
        lines.append(_row("Version", component["Version"]))
        details = component.get("Details") or {}
        lines += [_row(*_detail(name, label, details)) for name, label in _DETAILS if details.get(name)]
    return "\n".join(lines)


def _detail(name: str, label: str, details: Json) -> tuple[str, str]:
    if name == "ApiVersion" and details.get("MinAPIVersion"):
        return label, f"{details[name]} (minimum version {details['MinAPIVersion']})"
    if name == "Os":
        return label, f"{details['Os']}/{details.get('Arch', '')}"
    if name == "BuildTime":
        return label, build_time(details[name])
    return label, str(details[name])


def build_time(text: str) -> str:
    """Return an RFC 3339 time as ``Mon Jan  1 00:00:00 2024``, other texts as they are."""
    from time import gmtime, strftime

    from onggi.cli.times import parse_moment

    try:
        seconds = int(parse_moment(text).partition(".")[0])
    except ValueError:
        return text
    now = gmtime(seconds)
    return f"{strftime('%a %b', now)} {now.tm_mday:2} {strftime('%H:%M:%S %Y', now)}"


def _row(name: str, value: str) -> str:
    return f"  {name + ':':<{_TEXT_WIDTH - 1}} {value}"


COMMAND = Command(
    "version [OPTIONS]",
    "Show versions",
    run,
    flags=(("format", "f", "string", "", "How to print: 'json' or a Go template"),),
)
