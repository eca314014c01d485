"""``onggi stats``."""

from __future__ import annotations

import sys
import time

from onggi.cli.command import LIST_FORMAT, Cli, Command, Failure, Options
from onggi.cli.containers import path
from onggi.cli.format import Row, asked_form, headers, render_rows
from onggi.cli.times import binary_size, human_size
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_TABLE = (
    "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
)
_HEADERS = headers(
    "Container Name PIDs",
    ID="CONTAINER ID",
    CPUPerc="CPU %",
    MemUsage="MEM USAGE / LIMIT",
    MemPerc="MEM %",
    NetIO="NET I/O",
    BlockIO="BLOCK I/O",
)
_INTERVAL_S = 0.5
_CLEAR = "\033[H\033[J"


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print what containers use, once or until interrupted."""
    form = asked_form(cli, options, "statsFormat")
    form = _TABLE if form == "table" else form
    while True:
        items = _measure(cli, options, arguments)
        rows = [stats_row(name, item, not options.on("no-trunc")) for name, item in items]
        text = render_rows(form, rows, _HEADERS)
        sys.stdout.write(text if options.on("no-stream") else _CLEAR + text)
        sys.stdout.flush()
        if options.on("no-stream"):
            return 0
        time.sleep(_INTERVAL_S)


def _measure(cli: Cli, options: Options, names: list[str]) -> list[tuple[str, Json]]:
    """Return the raw numbers of the named containers, or of all. Raises Failure for one that is named."""
    query = {"all": options.on("all") or None}
    wanted = names or [item["Id"] for item in cli.engine.get("/containers/json", query)]
    items = []
    for name in wanted:
        try:
            items.append((name, cli.engine.get(f"{path(name)}/stats", {"stream": False})))
        except ClientError as error:
            if names:
                raise Failure(str(error)) from None
    return items


def stats_row(name: str, raw: Json, truncate: bool) -> Row:
    """Return the columns of one answer of ``GET /containers/NAME/stats``."""
    memory = raw.get("memory_stats") or {}
    used, limit = _used(memory), memory.get("limit") or 0
    received, sent = _network(raw.get("networks") or {})
    read, written = _block(raw.get("blkio_stats") or {})
    identity = raw.get("id") or name
    return Row(
        "*container.statsContext",
        Container=name,
        Name=(raw.get("name") or "--").removeprefix("/"),
        ID=identity[:12] if truncate else identity,
        CPUPerc=f"{cpu_percent(raw):.2f}%",
        MemUsage=f"{binary_size(used)} / {binary_size(limit)}",
        MemPerc=f"{used / limit * 100 if limit else 0.0:.2f}%",
        NetIO=f"{human_size(received, 3)} / {human_size(sent, 3)}",
        BlockIO=f"{human_size(read, 3)} / {human_size(written, 3)}",
        PIDs=str((raw.get("pids_stats") or {}).get("current") or 0),
    )


def cpu_percent(raw: Json) -> float:
    """Return the share of one processor between the two readings of an answer, in percent."""
    now, before = raw.get("cpu_stats") or {}, raw.get("precpu_stats") or {}
    usage, former = (part.get("cpu_usage") or {} for part in (now, before))
    container = (usage.get("total_usage") or 0) - (former.get("total_usage") or 0)
    system = (now.get("system_cpu_usage") or 0) - (before.get("system_cpu_usage") or 0)
    processors = now.get("online_cpus") or len(usage.get("percpu_usage") or [])
    return container / system * processors * 100 if container > 0 and system > 0 else 0.0


def _used(memory: Json) -> int:
    """Return the memory in use without what the kernel can drop (inactive page cache), as docker counts."""
    usage, parts = int(memory.get("usage") or 0), memory.get("stats") or {}
    for name in ("total_inactive_file", "inactive_file"):
        if name in parts and parts[name] < usage:
            return usage - int(parts[name])
    return usage


def _network(networks: Json) -> tuple[int, int]:
    rows = networks.values()
    return sum(row.get("rx_bytes", 0) for row in rows), sum(row.get("tx_bytes", 0) for row in rows)


def _block(block: Json) -> tuple[int, int]:
    entries = block.get("io_service_bytes_recursive") or []
    totals = {"r": 0, "w": 0}
    for entry in entries:
        kind = entry["op"][:1].lower()
        if kind in totals:
            totals[kind] += entry["value"]
    return totals["r"], totals["w"]


COMMAND = Command(
    "stats [OPTIONS] [CONTAINER...]",
    run,
    flags=(
        ("all", "a", "bool", "", "Show stopped containers too"),
        LIST_FORMAT,
        ("no-stream", "", "bool", "", "Print once and end"),
        ("no-trunc", "", "bool", "", "Do not shorten columns"),
    ),
    arguments=(0, None),
)
