"""``onggi search``."""

from __future__ import annotations

from onggi.cli.command import FILTER, LIST_FORMAT, Cli, Command, Options
from onggi.cli.filters import ellipsis, filters
from onggi.cli.format import Row, headers, render_rows
from onggi.cli.registry_auth import privileged
from onggi.client.codec import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_TABLE = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"
_HEADERS = headers("Name Description", StarCount="STARS", IsOfficial="OFFICIAL")
_AUTOMATED = (
    'WARNING: the "is-automated" filter is deprecated, and searching for "is-automated=true" will not yield '
    "any results in future."
)


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Search a registry that knows how to search."""
    form, wanted = options.text("format"), filters(options.many("filter"))
    if wanted and "is-automated" in wanted:
        cli.err(_AUTOMATED)
    query = {"term": arguments[0], "limit": max(options.number("limit"), 0) or None, "filters": wanted}
    answer = privileged(
        cli,
        _registry(arguments[0]),
        "search",
        lambda headers: cli.engine.request("GET", "/images/search", query, headers=headers).read(),
    )
    truncate = not options.on("no-trunc")
    rows = [_row(item, truncate, form == "json" or "{{json .}}" in form) for item in decode(answer) or []]
    print(render_rows(_TABLE if form in ("", "table") else form, rows, _HEADERS), end="")


def _registry(term: str) -> str:
    first, slash, _ = term.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def _row(item: Json, truncate: bool, in_json: bool) -> Row:
    description = str(item.get("description") or "").replace("\n", " ").replace("\r", " ")
    official = bool(item.get("is_official"))
    words = ("false", "true") if in_json else ("", "[OK]")
    return Row(
        "*registry.searchContext",
        Name=item.get("name") or "",
        Description=ellipsis(description, 45) if truncate else description,
        StarCount=str(item.get("star_count") or 0),
        IsOfficial=words[official],
    )


COMMAND = Command(
    "search [OPTIONS] TERM",
    run,
    about="Search Docker Hub, or another registry that can search, for images",
    flags=(
        FILTER,
        LIST_FORMAT,
        ("limit", "", "int", "", "Most results to show"),
        ("no-trunc", "", "bool", "", "Do not shorten columns"),
    ),
    arguments=(1, 1),
)
