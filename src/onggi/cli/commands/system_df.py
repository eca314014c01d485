"""``onggi system df``: docker's tables, and what docker has no row for."""

from __future__ import annotations

from onggi.cli.command import LIST_FORMAT, Cli, Command, Options
from onggi.cli.format import Row, headers, render_object, render_rows
from onggi.cli.times import ago, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_TABLE = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
_RAW = (
    "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\n"
    "reclaimable: {{.Reclaimable}}\n"
)
_FORMS = {"": _TABLE, "table": _TABLE, "raw": _RAW}
_HEADERS = headers("Type Active Size Reclaimable", TotalCount="TOTAL")
_ACTIVE = ("running", "paused", "restarting")
_IMAGES = (
    "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t"
    "{{.UniqueSize}}\t{{.Containers}}"
)
_CONTAINERS = (
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t"
    "{{.Status}}\t{{.Names}}"
)
_VOLUMES = "table {{.Name}}\t{{.Links}}\t{{.Size}}"
_VOLUME_HEADERS = headers("Links Size", Name="VOLUME NAME")
_CACHE = (
    "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t"
    "{{.UsageCount}}\t{{.Shared}}"
)
_CACHE_HEADERS = headers(
    "Cache_Type Size Shared",
    ID="CACHE ID",
    CreatedSince="CREATED",
    LastUsedSince="LAST USED",
    UsageCount="USAGE",
)
_ACCOUNTS = "table {{.Type}}\t{{.TotalCount}}\t{{.Size}}\t{{.Reclaimable}}"
_WORDS = {
    "layers": "Image layers",
    "blobs": "Image archives",
    "containers": "Containers",
    "logs": "Container logs",
    "volumes": "Local Volumes",
    "downloads": "Partial downloads",
    "database": "Database",
    "mountpoints": "Mount points",
    "trash": "Being deleted",
    "other": "Other files",
}


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print what takes how much of the disk, and what of it could go."""
    form = options.text("format")
    accounts = _asked(cli)
    usage = accounts["Usage"]
    if options.on("verbose"):
        print(_verbose(usage, accounts, form), end="")
        return 0
    rows = disk_usage(usage)
    print(render_rows(_FORMS.get(form, form), rows, _HEADERS), end="")
    if not form and accounts["Accounts"]:
        print("\n" + account_table(accounts), end="")
    return 0


def _asked(cli: Cli) -> Json:
    """The engine's accounts; another engine than ours has docker's answer only."""
    from onggi.client.errors import EngineError

    try:
        return cli.engine.get("/onggi/v1/system/df")
    except EngineError as error:
        if error.status != 404:
            raise
    return {"Usage": cli.engine.get("/system/df"), "Accounts": []}


def disk_usage(usage: Json) -> list[Row]:
    """Return docker's four rows of the answer of ``GET /system/df``. Pure."""
    containers, images = usage.get("Containers") or [], usage.get("Images") or []
    used = [image for image in images if image.get("Containers")]
    total = usage.get("LayersSize") or 0
    kept = sum(image["Size"] - max(0, image.get("SharedSize", 0)) for image in used)
    alive = [container for container in containers if container["State"] in _ACTIVE]
    written, living = (sum(each.get("SizeRw") or 0 for each in some) for some in (containers, alive))
    volumes = usage.get("Volumes") or []
    return [
        _row("Images", len(images), len(used), total, total - kept),
        _row("Containers", len(containers), len(alive), written, written - living),
        _volumes_row(volumes),
        _cache_row(usage.get("BuildCache") or []),
    ]


def _volumes_row(volumes: list[Json]) -> Row:
    used = [item.get("UsageData") or {"Size": 0, "RefCount": 0} for item in volumes]
    idle = sum(each["Size"] for each in used if each["RefCount"] == 0)
    total = sum(each["Size"] for each in used)
    return _row("Local Volumes", len(used), sum(each["RefCount"] > 0 for each in used), total, idle)


def _cache_row(cache: list[Json]) -> Row:
    """What several records share is counted by none, as docker does."""
    own = [item for item in cache if not item.get("Shared")]
    idle = sum(item.get("Size") or 0 for item in own if not item.get("InUse"))
    active = sum(bool(item.get("InUse")) for item in cache)
    return _row("Build Cache", len(cache), active, sum(item.get("Size") or 0 for item in own), idle)


def account_table(accounts: Json) -> str:
    """Return the table of all accounts, whose sum is what du(1) says of the data root. Pure."""
    rows = [
        _row(_WORDS.get(it["Kind"], it["Kind"]), it["Count"], 0, it["Size"], it["Reclaimable"])
        for it in accounts["Accounts"]
    ]
    whole = sum(it["Reclaimable"] for it in accounts["Accounts"])
    rows.append(_row("Total", sum(it["Count"] for it in accounts["Accounts"]), 0, accounts["Size"], whole))
    return f"Disk usage of {accounts['DataRoot']}:\n\n{render_rows(_ACCOUNTS, rows, _HEADERS)}"


def _row(kind: str, count: int, active: int, size: int, reclaimable: int) -> Row:
    share = f" ({reclaimable * 100 // size}%)" if size > 0 else ""
    return Row(
        "*formatter.diskUsageImagesContext",
        Type=kind,
        TotalCount=str(count),
        Active=str(active),
        Size=human_size(size),
        Reclaimable=human_size(reclaimable) + share,
    )


def _verbose(usage: Json, accounts: Json, form: str) -> str:
    """Return docker's tables of every image, container, volume and cache record, and the accounts."""
    from onggi.cli.container_rows import HEADERS as CONTAINER_HEADERS
    from onggi.cli.container_rows import container_row
    from onggi.cli.image_rows import HEADERS as IMAGE_HEADERS
    from onggi.cli.image_rows import image_rows

    # One row of each image, as docker: by its first name.
    images = [next(image_rows(item, True, False, False)) for item in usage.get("Images") or []]
    containers = [container_row({**item, "SizeRootFs": 0}, True) for item in usage.get("Containers") or []]
    volumes = [_volume(item) for item in usage.get("Volumes") or []]
    cache = [_cache(item) for item in usage.get("BuildCache") or []]
    if form not in ("", "table"):
        lists = {"Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": cache}
        return render_object(form, Row(**lists)) + "\n"
    parts = [
        "Images space usage:\n\n" + render_rows(_IMAGES, images, IMAGE_HEADERS),
        "Containers space usage:\n\n" + render_rows(_CONTAINERS, containers, CONTAINER_HEADERS),
        "Local Volumes space usage:\n\n" + render_rows(_VOLUMES, volumes, _VOLUME_HEADERS),
        cache_table(usage.get("BuildCache") or []),
    ]
    return "\n".join([*parts, account_table(accounts)] if accounts["Accounts"] else parts)


def cache_table(cache: list[Json]) -> str:
    """Return docker's table of what builds keep. Pure."""
    spent = human_size(sum(item.get("Size") or 0 for item in cache))
    rows = [_cache(item) for item in cache]
    return f"Build cache usage: {spent}\n\n" + render_rows(_CACHE, rows, _CACHE_HEADERS)


def _volume(item: Json) -> Row:
    from onggi.cli.commands.volume import volume_row

    used = item.get("UsageData") or {}
    row = volume_row(item)
    row |= {"Links": str(used.get("RefCount", "N/A")), "Size": human_size(used.get("Size", 0))}
    return row


def _cache(item: Json) -> Row:
    return Row(
        ID=str(item.get("ID", ""))[:12],
        CacheType=item.get("Type", ""),
        Size=human_size(item.get("Size") or 0),
        CreatedSince=_since(item.get("CreatedAt")),
        LastUsedSince=_since(item.get("LastUsedAt")),
        UsageCount=str(item.get("UsageCount", 0)),
        Shared=str(bool(item.get("Shared"))).lower(),
    )


def _since(text: str | None) -> str:
    """Return how long ago a time was; "" for none."""
    from onggi.cli.times import parse_moment

    return ago(int(parse_moment(text).partition(".")[0])) if text else ""


COMMAND = Command(
    "system df [OPTIONS]",
    run,
    flags=(LIST_FORMAT, ("verbose", "v", "bool", "", "Show every image, container, volume and cache record")),
)
