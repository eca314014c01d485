"""``onggi pull``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.platform import typed_or_default
from onggi.cli.progress import show
from onggi.cli.pulling import LAYOUT, TRUST, layout, pull, refuse_trust, tagged
from onggi.cli.registry_auth import privileged


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Download an image and print its full name."""
    refuse_trust(cli, options)
    if arguments[0].startswith(LAYOUT):
        return _from_layout(cli, options, arguments[0])
    reference, every = tagged(cli, options, arguments[0]), options.on("all-tags")
    platform = typed_or_default(options, cli.env)
    response = privileged(
        cli, reference.domain, "pull", lambda headers: pull(cli, reference, platform, headers, every)
    )
    cli.flush()
    show(cli.engine.messages(response), fd=-1 if options.on("quiet") else 1)
    cli.out(str(reference))
    return 0


def _from_layout(cli: Cli, options: Options, text: str) -> int:
    path, name = layout(cli, text)
    query = {
        "path": path,
        "reference": name or None,
        "platform": typed_or_default(options, cli.env).lower() or None,
        "all": options.on("all-tags") or None,
    }
    response = cli.engine.request("POST", "/onggi/v1/oci/pull", query)
    show(cli.engine.messages(response), fd=-1 if options.on("quiet") else 1)
    return 0


COMMAND = Command(
    "pull [OPTIONS] NAME[:TAG|@DIGEST]",
    run,
    about="Download an image from a registry, or from an OCI layout (oci:DIRECTORY[:TAG])",
    flags=(
        ("all-tags", "a", "bool", "", "Download every tag of the repository"),
        TRUST,
        ("platform", "", "string", "", "Platform to choose, os[/arch[/variant]]"),
        ("quiet", "q", "bool", "", "Do not show the progress"),
    ),
    arguments=(1, 1),
)
