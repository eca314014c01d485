"""``onggi images``."""

from __future__ import annotations

from onggi.cli.command import FILTER, LIST_FORMAT, PROGRAM, Cli, Command, Failure, Options, console_size
from onggi.cli.filters import filters
from onggi.cli.format import chosen_form, render_rows
from onggi.cli.image_rows import DIGEST_FORMS, FORMS, HEADERS, image_rows, is_dangling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_VERBS = ("build", "history", "import", "inspect", "list", "load", "ls", "prune", "pull", "push", "rm")
_NOT_IN_TREE = {
    "quiet": "--quiet",
    "no-trunc": "--no-trunc",
    "digests": "--show-digest",
    "format": "--format",
}


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """List images."""
    wanted = options.many("filter") + [f"reference={name}" for name in arguments if name]
    query = {"all": options.on("all") or None, "filters": filters(wanted)}
    if options.on("tree"):
        return _tree(cli, options, query)
    digests = options.on("digests")
    form = chosen_form(cli, options, "imagesFormat", DIGEST_FORMS if digests else FORMS)
    if digests and form.startswith("table") and "{{.Digest}}" not in form:
        form += "\t{{.Digest}}"
    items = cli.engine.get("/images/json", query) or []
    truncate, with_digests = not options.on("no-trunc"), digests or "{{.Digest}}" in form
    rows = (row for item in items for row in image_rows(item, truncate, with_digests, digests))
    print(render_rows(form, rows, HEADERS), end="")
    if arguments and not items and cli.name == "images":
        _hint(cli, arguments[0])
    return 0


def _hint(cli: Cli, name: str) -> None:
    """Help who meant a command of the group and got a filter."""
    if name in (*_VERBS, "save", "tag"):
        cli.err(f'\nNo images found matching "{name}": did you mean "{PROGRAM} image {name}"?')


def _tree(cli: Cli, options: Options, query: dict[str, Json]) -> int:
    for name, flag in _NOT_IN_TREE.items():
        if options.text(name) if name == "format" else options.on(name):
            raise Failure(f"{flag} is not yet supported with --tree")
    from onggi.cli.image_tree import Tree

    items = cli.engine.get("/images/json", {**query, "manifests": True}) or []
    shown = items if options.on("all") else [item for item in items if not is_dangling(item)]
    for line in Tree(shown, console_size()[1]).lines():
        cli.out(line)
    return 0


COMMAND = Command(
    "images [OPTIONS] [REPOSITORY[:TAG]]",
    run,
    flags=(
        ("all", "a", "bool", "", "Show intermediate images too"),
        ("digests", "", "bool", "", "Show digests"),
        FILTER,
        LIST_FORMAT,
        ("no-trunc", "", "bool", "", "Do not shorten columns"),
        ("quiet", "q", "bool", "", "Print IDs only"),
        ("tree", "", "bool", "", "Show images of several platforms as a tree"),
    ),
    arguments=(0, 1),
)
