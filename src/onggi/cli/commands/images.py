"""``onggi images``."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options
from onggi.cli.filters import filters
from onggi.cli.format import check_fields, render_rows
from onggi.cli.image_rows import DIGEST_TABLE, GO_TYPE, HEADERS, TABLE, image_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """List images."""
    if options.on("tree"):
        raise Failure("onggi: 'onggi images --tree' is not supported by this build", 125)
    form, digests = options.text("format"), options.on("digests")
    used = check_fields(form, HEADERS, GO_TYPE)
    if options.on("quiet"):
        if form:
            cli.err("WARNING: Ignoring custom format, because both --format and --quiet are set.")
        form = "{{.ID}}"
    elif form in ("", "table"):
        form = DIGEST_TABLE if digests else TABLE
    wanted = options.many("filter") + [f"reference={name}" for name in arguments]
    query = {"all": True if options.on("all") else None, "filters": filters(wanted)}
    items = cli.engine.get("/images/json", query)
    truncate = not options.on("no-trunc")
    rows = (row for item in items for row in image_rows(item, truncate, digests or "Digest" in used))
    print(render_rows(form, rows, HEADERS), end="")
    return 0


COMMAND = Command(
    "images [OPTIONS] [REPOSITORY[:TAG]]",
    "List images",
    run,
    flags=(
        ("all", "a", "bool", "", "Show intermediate images too"),
        ("digests", "", "bool", "", "Show digests"),
        ("filter", "f", "filter", "", "Show only what matches (name=value)"),
        ("format", "", "string", "", "How to print: 'table', 'table TEMPLATE', 'json', or a Go template"),
        ("no-trunc", "", "bool", "", "Do not shorten columns"),
        ("quiet", "q", "bool", "", "Print IDs only"),
        ("tree", "", "bool", "", "Show images of several platforms as a tree"),
    ),
    arguments=(0, 1),
    aliases=("image ls", "image list", "images"),
)
