"""``onggi import``."""

from __future__ import annotations

import os

from onggi.cli.command import Command, Failure, Options
from onggi.cli.image_name import check_name
from onggi.cli.progress import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from onggi.cli.context import Cli

_PIECE = 1 << 18


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Make an image from a tar archive: a file, ``-`` for standard input, or a URL that the engine reads."""
    source, reference = arguments[0], arguments[1] if len(arguments) > 1 else ""
    _check(reference)
    remote = source.startswith(("http://", "https://"))
    query = {
        "changes": options.many("change") or None,
        "fromSrc": source if remote else "-",
        "message": options.text("message") or None,
        "platform": (options.text("platform") or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")).lower()
        or None,
        "repo": reference or None,
    }
    body = None if remote else _pieces(source)
    response = cli.engine.request("POST", "/images/create", query, body)
    show(cli.engine.messages(response))
    return 0


def _check(reference: str) -> None:
    try:
        if reference:
            check_name(reference)
    except ValueError as error:
        raise Failure(str(error)) from None


def _pieces(source: str) -> Iterator[bytes]:
    """Open the archive now, so that a missing file is told before the engine is asked; read it when sent."""
    if source == "-":
        return _read(0)
    try:
        return _read(os.open(source, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise Failure(f"open {source}: {(error.strerror or '').lower()}") from None


def _read(fd: int) -> Iterator[bytes]:
    try:
        while data := os.read(fd, _PIECE):
            yield data
    finally:
        os.close(fd)


COMMAND = Command(
    "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    "Make an image from a tar archive of a file system",
    run,
    flags=(
        ("change", "c", "list", "", "Apply a Dockerfile instruction to the image"),
        ("message", "m", "string", "", "Note for the image's history"),
        ("platform", "", "string", "", "Platform of the image, os[/arch[/variant]]"),
    ),
    arguments=(1, None),
    aliases=("image import", "import"),
)
