"""``onggi volume ls``."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options
from onggi.cli.filters import filters
from onggi.cli.format import Row, label_header, render_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.context import Cli

    Json = Any

_TABLE = "table {{.Driver}}\t{{.Name}}"
_NONE = "N/A"  # docker's word for what an answer does not say
_HEADERS: dict[str, Json] = {
    "Name": "VOLUME NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Label": label_header,
    "Links": "LINKS",
    "Size": "SIZE",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Status": "STATUS",
}


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """List volumes."""
    if options.on("cluster"):
        raise Failure("cluster volumes need a swarm, which this engine does not have")
    answer = cli.engine.get("/volumes", {"filters": filters(options.many("filter"))})
    items = sorted(answer.get("Volumes") or [], key=lambda item: natural(item["Name"]))
    configured = "" if options.on("quiet") else str(cli.config().get("volumesFormat") or "")
    form = options.text("format") or configured or "table"
    if form == "table":
        form = "{{.Name}}" if options.on("quiet") else _TABLE
    elif form == "raw":
        form = "name: {{.Name}}" if options.on("quiet") else "name: {{.Name}}\\ndriver: {{.Driver}}\\n"
    print(render_rows(form, map(volume_row, items), _HEADERS), end="")
    return 0


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which ``v2`` comes before ``v10``."""
    parts, digits = [""], False
    for character in name:
        if character.isdigit() != digits:
            parts.append("")
            digits = not digits
        parts[-1] += character
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def volume_row(item: Json) -> Row:
    """Return the columns of one volume of ``GET /volumes``."""
    labels = item.get("Labels") or {}
    row = Row(
        Name=item["Name"],
        Driver=item["Driver"],
        Scope=item.get("Scope") or "",
        Mountpoint=item.get("Mountpoint") or "",
        Labels=",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        Label=lambda name: labels.get(name, ""),
        Links=_NONE,
        Size=_NONE,
        Availability=_NONE,
        Group=_NONE,
        Status=_NONE,
    )
    row.go_type = "*formatter.volumeContext"
    return row


COMMAND = Command(
    "volume ls [OPTIONS]",
    "List volumes",
    run,
    flags=(
        ("cluster", "", "bool", "", "Show volumes of a swarm only"),
        ("filter", "f", "filter", "", 'Show only what matches (e.g. "dangling=true")'),
        ("format", "", "string", "", "How to print: 'table', 'table TEMPLATE', 'json', or a Go template"),
        ("quiet", "q", "bool", "", "Print names only"),
    ),
    aliases=("volume ls", "volume list"),
)
