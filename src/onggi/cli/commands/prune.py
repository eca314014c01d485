"""``prune`` of containers, images, networks, volumes, the build cache, and by ``system prune`` of all."""

from __future__ import annotations

import sys

from onggi.cli.command import Cli, Command, Failure, Flag, Options
from onggi.cli.filters import prune_filters
from onggi.cli.times import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from onggi.client.codec import Json

# Kind -> where it is pruned, the key of what is deleted, and the heading of that.
_KINDS = {
    "builder": ("/build/prune", "CachesDeleted", "build cache objects"),
    "container": ("/containers/prune", "ContainersDeleted", "Containers"),
    "image": ("/images/prune", "ImagesDeleted", "Images"),
    "network": ("/networks/prune", "NetworksDeleted", "Networks"),
    "volume": ("/volumes/prune", "VolumesDeleted", "Volumes"),
}
_CACHE_SIZES = ("keep-storage", "reserved-space", "max-used-space", "min-free-space")
_FORCE: Flag = ("force", "f", "bool", "", "Do not ask")
_UNTIL: Flag = ("filter", "", "filter", "", 'Remove only what matches (e.g. "until=<timestamp>")')
_ALL_IMAGES: Flag = (
    "all", "a", "bool", "", "Remove all images that no container uses, not only those without a name",
)  # fmt: skip


def _prune(cli: Cli, kind: str, typed: list[str], query: dict[str, Json] | None = None) -> int:
    """Remove what matches the filters and print it; returns the bytes that this freed."""
    path, key, heading = _KINDS[kind]
    answer = cli.engine.post(path, {**(query or {}), "filters": prune_filters(cli.config(), typed)})
    lines = [line for each in answer.get(key) or [] for line in _lines(each)]
    if lines:
        cli.out(f"Deleted {heading}:\n" + "\n".join(lines) + "\n")
    return int(answer.get("SpaceReclaimed") or 0)


def _lines(deleted: Json) -> list[str]:
    if isinstance(deleted, str):
        return [deleted]
    return [f"{done.lower()}: {name}" for done, name in deleted.items()]


def _containers(cli: Cli, options: Options) -> int:
    return _prune(cli, "container", options.many("filter"))


def _images(cli: Cli, options: Options) -> int:
    dangling = f"dangling={'false' if options.on('all') else 'true'}"
    return _prune(cli, "image", [*options.many("filter"), dangling])


def _networks(cli: Cli, options: Options) -> None:
    _prune(cli, "network", options.many("filter"))  # they take no space to speak of


def _volumes(cli: Cli, options: Options) -> int:
    return _prune(cli, "volume", options.many("filter") + (["all=true"] if options.on("all") else []))


def _cache(cli: Cli, options: Options) -> int:
    query: dict[str, Json] = {
        name: options.number(name) or None for name in _CACHE_SIZES if name in options.given
    }
    return _prune(cli, "builder", options.many("filter"), {**query, "all": options.on("all") or None})


def _all(cli: Cli, options: Options) -> int:
    freed = _containers(cli, options)
    _networks(cli, options)
    if options.on("volumes"):  # those without a name, also with --all
        freed += _prune(cli, "volume", options.many("filter"))
    return freed + _images(cli, options) + _cache(cli, options)


def _unused_images(options: Options) -> str:
    every = "all images without at least one container associated to them"
    return every if options.on("all") else "all dangling images"


def _unused_volumes(options: Options) -> str:
    if options.on("all") and any(text.startswith("all=") for text in options.many("filter")):
        raise Failure("conflicting options: cannot specify both --all and --filter all=1")
    kind = "all" if options.on("all") else "anonymous"
    return f"{kind} local volumes not used by at least one container"


def _unused(options: Options) -> str:
    if options.on("volumes") and any(text.startswith("until=") for text in options.many("filter")):
        raise Failure('ERROR: The "until" filter is not supported with "--volumes"')
    kinds = ["all stopped containers", "all networks not used by at least one container"]
    if options.on("volumes"):
        kinds.append("all anonymous volumes not used by at least one container")
    cache = f"{'all' if options.on('all') else 'unused'} build cache"
    return ":\n" + "".join(f"  - {kind}\n" for kind in (*kinds, _unused_images(options), cache))


def _command(
    use: str,
    unused: Callable[[Options], str],
    remove: Callable[[Cli, Options], int | None],
    *flags: Flag,
) -> Command:
    """``unused`` names what would go, and refuses flags that contradict each other; ``remove`` returns the
    bytes that were freed, None where nobody counts them."""

    def run(cli: Cli, options: Options, arguments: list[str]) -> None:
        """Remove what nothing uses, after a question."""
        what = unused(options)
        warning = f"WARNING! This will remove{what if what.startswith(':') else f' {what}.'}"
        if options.on("force") or _confirmed(warning):
            freed = remove(cli, options)
            if freed is not None:
                cli.out(f"Total reclaimed space: {human_size(freed)}")

    return Command(use, run, flags=flags)


def _confirmed(warning: str) -> bool:
    sys.stdout.write(f"{warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


CONTAINER = _command(
    "container prune [OPTIONS]",
    lambda options: "all stopped containers",
    _containers,
    _UNTIL,
    _FORCE,
)
IMAGE = _command("image prune [OPTIONS]", _unused_images, _images, _ALL_IMAGES, _UNTIL, _FORCE)
NETWORK = _command(
    "network prune [OPTIONS]",
    lambda options: "all custom networks not used by at least one container",
    _networks,
    _UNTIL,
    _FORCE,
)
VOLUME = _command(
    "volume prune [OPTIONS]",
    _unused_volumes,
    _volumes,
    ("all", "a", "bool", "", "Remove all that no container uses, not only those without a name"),
    ("filter", "", "filter", "", 'Remove only what matches (e.g. "label=<label>")'),
    _FORCE,
)
BUILDER = _command(
    "builder prune",
    lambda options: f"all {'' if options.on('all') else 'dangling '}build cache",
    _cache,
    ("all", "a", "bool", "", "Remove also what images use"),
    ("filter", "", "filter", "", 'Remove only what matches (e.g. "until=24h")'),
    _FORCE,
    ("keep-storage", "", "bytes", "", "The same as --reserved-space"),
    ("max-used-space", "", "bytes", "", "Remove what was not used for longest until no more is taken"),
    ("min-free-space", "", "bytes", "", "Remove what was not used for longest until so much is free"),
    ("reserved-space", "", "bytes", "", "Amount that stays whatever else is asked"),
)
SYSTEM = _command(
    "system prune [OPTIONS]",
    _unused,
    _all,
    _ALL_IMAGES,
    _UNTIL,
    _FORCE,
    ("volumes", "", "bool", "", "Remove anonymous volumes too"),
)
