"""The request for a pull, the same for ``pull``, ``run`` and ``create``; and what they refuse."""

from __future__ import annotations

from onggi.cli.command import Cli, Failure, Flag, Options
from onggi.cli.image_name import typed_reference
from onggi.cli.values import parse_bool
from onggi.oci.reference import DEFAULT_TAG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from onggi.client.http import Response
    from onggi.oci.reference import Reference

TRUST: Flag = ("disable-content-trust", "", "bool", "true", "Do not verify the image")
LAYOUT = "oci:"


def pull(
    cli: Cli, reference: Reference, platform: str, headers: Mapping[str, str], every_tag: bool = False
) -> Response:
    """Ask for a pull; the answer is a stream of progress. Raises ClientError."""
    query = {
        "fromImage": reference.name,
        "tag": None if every_tag else reference.digest or reference.tag or DEFAULT_TAG,
        "platform": platform.lower() or None,
    }
    return cli.engine.request("POST", "/images/create", query, headers=headers)


def tagged(cli: Cli, options: Options, text: str) -> Reference:
    """Return the reference that pull and push mean: with a tag, unless it is about all. Raises Failure."""
    reference, every = typed_reference(text), options.on("all-tags")
    if every and (reference.tag or reference.digest):
        raise Failure("tag can't be used with --all-tags/-a")
    if every or (reference.tag or reference.digest):
        return reference
    reference = reference.with_default_tag()
    if not options.on("quiet"):
        cli.out(f"Using default tag: {reference.tag}")
    return reference


def refuse_trust(cli: Cli, options: Options) -> None:
    """Refuse to verify signatures: we cannot, and a check that is asked for is not left out silently."""
    asked = "disable-content-trust" in options.given and not options.on("disable-content-trust")
    try:
        by_default = parse_bool(cli.env.get("DOCKER_CONTENT_TRUST") or "0")
    except ValueError:
        by_default = False
    if asked or (by_default and "disable-content-trust" not in options.given):
        what = "--disable-content-trust=false" if asked else "DOCKER_CONTENT_TRUST"
        raise Failure(f"{what} is not supported by this build", 125)


def layout(cli: Cli, text: str) -> tuple[str, str]:
    """Return (absolute path, name in it) of ``oci:DIRECTORY[:NAME]``. Raises Failure."""
    import os

    path, _, name = text.removeprefix(LAYOUT).partition(":")
    if not path:
        raise Failure(f'"{text}" names no directory: write oci:DIRECTORY[:TAG]')
    if cli.engine.endpoint.kind != "unix":
        raise Failure(f"{text}: the engine reads and writes it, and it may not be on this machine")
    return os.path.abspath(path), name
