"""``onggi system df``."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options
from onggi.cli.format import Row, render_rows
from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.context import Cli

    Json = Any

_TABLE = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
_HEADERS: dict[str, Json] = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_ACTIVE = ("running", "paused", "restarting")


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print what takes how much of the disk, and what of it could go."""
    if options.on("verbose"):
        raise Failure("--verbose is not supported by this build: see 'images' and 'ps -as'", 125)
    form = options.text("format")
    rows = disk_usage(cli.engine.get("/system/df"))
    print(render_rows(_TABLE if form in ("", "table") else form, rows, _HEADERS), end="")
    return 0


def disk_usage(usage: Json) -> list[Row]:
    """Return docker's four rows of the answer of ``GET /system/df``. Pure."""
    containers, images = usage.get("Containers") or [], usage.get("Images") or []
    in_use = {container["ImageID"] for container in containers}
    used = [image for image in images if image["Id"] in in_use]
    total, kept = usage.get("LayersSize") or 0, sum(image["Size"] for image in used)
    alive = [container for container in containers if container["State"] in _ACTIVE]
    written, living = (sum(each.get("SizeRw") or 0 for each in some) for some in (containers, alive))
    volumes, cache = usage.get("Volumes") or [], usage.get("BuildCache") or []
    return [
        _row("Images", len(images), len(used), total, total - kept),
        _row("Containers", len(containers), len(alive), written, written - living),
        _row("Local Volumes", len(volumes), 0, 0, 0),
        _row("Build Cache", len(cache), 0, 0, 0),
    ]


def _row(kind: str, count: int, active: int, size: int, reclaimable: int) -> Row:
    share = f" ({reclaimable * 100 // size}%)" if size else ""
    row = Row(
        Type=kind,
        TotalCount=str(count),
        Active=str(active),
        Size=human_size(size),
        Reclaimable=human_size(reclaimable) + share,
    )
    row.go_type = "*formatter.diskUsageImagesContext"
    return row


COMMAND = Command(
    "system df [OPTIONS]",
    "Show what takes space on the disk",
    run,
    flags=(
        ("format", "", "string", "", "How to print: 'table', 'table TEMPLATE', 'json', or a Go template"),
        ("verbose", "v", "bool", "", "Refused: 'images' and 'ps -as' list what there is"),
    ),
)
