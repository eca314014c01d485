"""``onggi commit``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.image_name import typed_reference


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Make an image of what a container changed and print its ID."""
    repository, tag = _name(arguments[1]) if len(arguments) > 1 else ("", "")
    query = {
        "container": arguments[0].strip(),
        "repo": repository,
        "tag": tag,
        "comment": options.text("message"),
        "author": options.text("author"),
        "changes": options.many("change") or None,
        "pause": None if options.on("pause") else False,
    }
    cli.out(str(cli.engine.post("/commit", query)["Id"]))


def _name(text: str) -> tuple[str, str]:
    if not text:
        return "", ""
    reference = typed_reference(text)
    if reference.digest:
        raise Failure("refusing to create a tag with a digest reference")
    return reference.name, reference.with_default_tag().tag


COMMAND = Command(
    "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    run,
    flags=(
        ("author", "a", "string", "", "Author of the image"),
        ("change", "c", "list", "", "Apply a Dockerfile instruction to the image"),
        ("message", "m", "string", "", "Note for the image's history"),
        ("pause", "p", "bool", "true", "Pause the container meanwhile"),
    ),
    arguments=(1, 2),
    interspersed=False,
)
