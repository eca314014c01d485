"""``onggi builder df``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.commands.system_df import cache_table
from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print what builds keep, and how much that is."""
    cache = cli.engine.get("/system/df", {"type": "build-cache"}).get("BuildCache") or []
    if options.on("verbose"):
        cli.out("\n".join([*map(_told, cache), _summary(cache)]))
        return 0
    print(cache_table(cache), end="")
    return 0


def _told(item: Json) -> str:
    """One record, as `docker buildx du --verbose` tells it."""
    rows = {
        "ID": item["ID"],
        "Created at": item.get("CreatedAt") or "",
        "Reclaimable": str(not item.get("InUse")).lower(),
        "Shared": str(bool(item.get("Shared"))).lower(),
        "Size": human_size(item.get("Size") or 0),
        "Description": item.get("Description") or "",
        "Usage count": str(item.get("UsageCount", 0)),
        "Last used": item.get("LastUsedAt") or "",
        "Type": item.get("Type") or "",
    }
    return "".join(f"{name + ':':<14}{value}\n" for name, value in rows.items())


def _summary(cache: list[Json]) -> str:
    sizes = {
        "Shared": sum(it["Size"] for it in cache if it.get("Shared")),
        "Private": sum(it["Size"] for it in cache if not it.get("Shared")),
        "Reclaimable": sum(it["Size"] for it in cache if not it.get("InUse")),
        "Total": sum(it["Size"] for it in cache),
    }
    return "\n".join(f"{name + ':':<14}{human_size(size)}" for name, size in sizes.items())


COMMAND = Command(
    "builder df [OPTIONS]",
    run,
    flags=(("verbose", "v", "bool", "", "Show every record in full"),),
)
