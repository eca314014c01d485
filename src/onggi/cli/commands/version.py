"""``onggi version``."""

from __future__ import annotations

import sys

from onggi.cli.command import FORMAT, Cli, Command, Failure, Options
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
        _formatted(cli, form, client, server)
    else:
        cli.out(_client_text(client) + (_server_text(server) if server else ""))
    if failure is not None:
        raise Failure(str(failure))


def _formatted(cli: Cli, form: str, client: Json, server: Json) -> None:
    from onggi.cli.format import print_facts
    from onggi.cli.template.gotypes import Fields

    names = {"APIVersion": "ApiVersion"}
    facts = {
        "Client": Fields(client, names, go_type="system.clientVersion"),
        "Server": Fields(server, names, go_type="*types.Version") if server else None,
    }
    print_facts(cli, form, Fields(facts, {}, go_type="system.versionInfo"), "version")


def _client(cli: Cli) -> dict[str, Json]:
    from onggi.cli.context_values import current
    from onggi.oci.platform_specifier import of_this_machine
    from onggi.version import API, VERSION, build_id

    return {
        "Version": VERSION,
        "ApiVersion": API,
        "DefaultAPIVersion": API,
        "GitCommit": build_id().rpartition("-")[2],
        "PythonVersion": sys.version.split()[0],
        "Os": "linux",
        "Arch": of_this_machine()[0],
        "Context": current(cli),
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
    run,
    flags=(FORMAT,),
)
