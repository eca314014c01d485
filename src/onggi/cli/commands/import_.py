"""``onggi import``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.image_name import typed_reference
from onggi.cli.input import pieces
from onggi.cli.platform import typed_or_default
from onggi.cli.progress import show


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Make an image from a tar archive: a file, ``-`` for standard input, or a URL that the engine reads."""
    source, reference = arguments[0], arguments[1] if len(arguments) > 1 else ""
    remote = source.startswith(("http://", "https://"))
    body = None if remote else pieces(source)
    if reference:
        typed_reference(reference)
    query = {
        "changes": options.many("change") or None,
        "fromSrc": source if remote else "-",
        "message": options.text("message") or None,
        "platform": typed_or_default(options, cli.env).lower() or None,
        "repo": reference or None,
    }
    response = cli.engine.request("POST", "/images/create", query, body)
    show(cli.engine.messages(response))


COMMAND = Command(
    "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    run,
    flags=(
        ("change", "c", "list", "", "Apply a Dockerfile instruction to the image"),
        ("message", "m", "string", "", "Note for the image's history"),
        ("platform", "", "string", "", "Platform of the image, os[/arch[/variant]]"),
    ),
    arguments=(1, None),
)
