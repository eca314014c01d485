"""``onggi network ls``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.cli.commands.volume_ls import natural
from onggi.cli.filters import filters
from onggi.cli.format import Row, label_header, render_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.context import Cli

    Json = Any

_TABLE = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
_RAW = "network_id: {{.ID}}\\nname: {{.Name}}\\ndriver: {{.Driver}}\\nscope: {{.Scope}}\\n"
_HEADERS: dict[str, Json] = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "Label": label_header,
    "CreatedAt": "CREATED AT",
}


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """List networks."""
    items = cli.engine.get("/networks", {"filters": filters(options.many("filter"))})
    configured = "" if options.on("quiet") else str(cli.config().get("networksFormat") or "")
    form = options.text("format") or configured or "table"
    if form == "table":
        form = "{{.ID}}" if options.on("quiet") else _TABLE
    elif form == "raw":
        form = "network_id: {{.ID}}" if options.on("quiet") else _RAW
    items = sorted(items, key=lambda item: natural(item["Name"]))
    print(render_rows(form, [network_row(item, options.on("no-trunc")) for item in items], _HEADERS), end="")
    return 0


def network_row(item: Json, whole: bool) -> Row:
    """Return the columns of one network of ``GET /networks``."""
    labels = item.get("Labels") or {}
    row = Row(
        ID=item["Id"] if whole else item["Id"][:12],
        Name=item["Name"],
        Driver=item["Driver"],
        Scope=item.get("Scope") or "",
        IPv4=_word(item.get("EnableIPv4")),
        IPv6=_word(item.get("EnableIPv6")),
        Internal=_word(item.get("Internal")),
        Labels=",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        Label=lambda name: labels.get(name, ""),
        CreatedAt=_moment(item.get("Created") or ""),
    )
    row.go_type = "*network.networkContext"
    return row


def _word(value: Json) -> str:
    return "true" if value else "false"


def _moment(text: str) -> str:
    """Go's ``Time.String`` of a time in UTC."""
    date, _, clock = text.removesuffix("Z").partition("T")
    return f"{date} {clock} +0000 UTC"


COMMAND = Command(
    "network ls [OPTIONS]",
    "List networks",
    run,
    flags=(
        ("filter", "f", "filter", "", 'Show only what matches (e.g. "driver=bridge")'),
        ("format", "", "string", "", "How to print: 'table', 'table TEMPLATE', 'json', or a Go template"),
        ("no-trunc", "", "bool", "", "Do not shorten ids"),
        ("quiet", "q", "bool", "", "Print ids only"),
    ),
    aliases=("network ls", "network list"),
)
