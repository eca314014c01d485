"""``onggi tag``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.image_name import parse_any
from onggi.client.engine import quote
from onggi.errors import InvalidArgument
from onggi.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Give an image another name."""
    source, target = arguments
    _read(parse_any, source)
    reference = _read(parse, target)
    if reference.digest:
        raise Failure("refusing to create a tag with a digest reference")
    query = {"repo": reference.name, "tag": reference.with_default_tag().tag}
    cli.engine.post(f"/images/{quote(source, b'/:')}/tag", query)


def _read(read: Callable[[str], Result], text: str) -> Result:
    try:
        return read(text)
    except InvalidArgument as error:
        raise Failure(f'Error parsing reference: "{text}" is not a valid repository/tag: {error}') from None


COMMAND = Command(
    "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    run,
    arguments=(2, 2),
    interspersed=False,
)
