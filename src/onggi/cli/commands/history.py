"""``onggi history``."""

from __future__ import annotations

from onggi.cli.command import LIST_FORMAT, Cli, Command, Options
from onggi.cli.filters import ellipsis, short_id
from onggi.cli.format import Row, headers, render_rows
from onggi.cli.platform import asked
from onggi.cli.times import ago, human_size, rfc3339
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_TABLE = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
_HEADERS = headers("Created_At Created_By Size Comment", ID="IMAGE", CreatedSince="CREATED")
_EPOCH = 946_684_800  # 2000-01-01: builds that set no time say something before it


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Show the layers of an image, the newest first."""
    form, human = options.text("format"), options.on("human")
    query = {"platform": asked(options, "invalid platform: ")}
    items = cli.engine.get(f"/images/{quote(arguments[0], b'/:')}/history", query)
    if form in ("", "table"):
        table = _TABLE if human else _TABLE.replace("CreatedSince", "CreatedAt")
        form = "{{.ID}}" if options.on("quiet") else table
    rows = (_row(item, not options.on("no-trunc"), human) for item in items)
    print(render_rows(form, rows, _HEADERS), end="")


def _row(item: Json, truncate: bool, human: bool) -> Row:
    created, command = item.get("Created") or 0, (item.get("CreatedBy") or "").replace("\t", " ")
    since = rfc3339(created) if not human else "N/A" if created <= _EPOCH else ago(created)
    return Row(
        "*image.historyContext",
        ID=short_id(item["Id"]) if truncate else item["Id"],
        CreatedSince=since,
        CreatedAt=rfc3339(created),
        CreatedBy=ellipsis(command, 45) if truncate else command,
        Size=human_size(item.get("Size") or 0, 3) if human else str(item.get("Size") or 0),
        Comment=item.get("Comment") or "",
    )


COMMAND = Command(
    "history [OPTIONS] IMAGE",
    run,
    flags=(
        LIST_FORMAT,
        ("human", "H", "bool", "true", "Print sizes and dates for people"),
        ("no-trunc", "", "bool", "", "Do not shorten columns"),
        ("platform", "", "string", "", "Platform to show, os[/arch[/variant]]"),
        ("quiet", "q", "bool", "", "Print IDs only"),
    ),
    arguments=(1, 1),
)
