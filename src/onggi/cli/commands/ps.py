"""``onggi ps``."""

from __future__ import annotations

from onggi.cli.command import FILTER, LIST_FORMAT, Cli, Command, Options
from onggi.cli.filters import filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """List containers."""
    if options.on("quiet"):
        return _quiet(cli, options)
    from onggi.cli.container_rows import FORMS, HEADERS, container_row, fields_of
    from onggi.cli.format import asked_form, render_rows

    form = asked_form(cli, options, "psFormat")
    sized = options.on("size") or "Size" in fields_of(form)
    if form in FORMS:
        form = FORMS[form][options.on("size")]
    rows = (container_row(item, not options.on("no-trunc")) for item in _containers(cli, options, sized))
    print(render_rows(form, rows, HEADERS), end="")
    return 0


def _quiet(cli: Cli, options: Options) -> int:
    if options.text("format"):
        cli.err("WARNING: Ignoring custom format, because both --format and --quiet are set.")
    for item in _containers(cli, options, options.on("size")):
        cli.out(item["Id"] if options.on("no-trunc") else item["Id"][:12])
    return 0


def _containers(cli: Cli, options: Options, sized: bool) -> list[Json]:
    limit = 1 if options.on("latest") else options.number("last")
    query = {
        "all": options.on("all") or None,
        "filters": filters(options.many("filter")),
        "limit": limit if limit > 0 else None,
        "size": sized or None,
    }
    items: list[Json] = cli.engine.get("/containers/json", query)
    return items


COMMAND = Command(
    "ps [OPTIONS]",
    run,
    flags=(
        ("all", "a", "bool", "", "Show stopped containers too"),
        FILTER,
        LIST_FORMAT,
        ("last", "n", "int", "-1", "Show the n containers created last, running or not"),
        ("latest", "l", "bool", "", "Show the container created last, running or not"),
        ("no-trunc", "", "bool", "", "Do not shorten columns"),
        ("quiet", "q", "bool", "", "Print IDs only"),
        ("size", "s", "bool", "", "Show sizes"),
    ),
)
