"""``onggi tag``."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options
from onggi.cli.image_name import check_name, split_reference
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Give an image another name."""
    source, target = arguments
    try:
        check_name(target)
    except ValueError as error:
        raise Failure(f'Error parsing reference: "{target}" is not a valid repository/tag: {error}') from None
    name, tag, _ = split_reference(target)
    cli.engine.post(f"/images/{quote(source, b'/:')}/tag", {"repo": name, "tag": tag or "latest"})
    return 0


COMMAND = Command(
    "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "Give an image another name",
    run,
    arguments=(2, 2),
    aliases=("image tag", "tag"),
)
