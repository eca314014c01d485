"""``onggi push``."""

from __future__ import annotations

import sys

from onggi.cli.command import ArgumentError, Cli, Command, Failure, Options
from onggi.cli.platform import asked
from onggi.cli.progress import show
from onggi.cli.prompt import note
from onggi.cli.pulling import LAYOUT, TRUST, layout, refuse_trust, tagged
from onggi.cli.registry_auth import privileged
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_PLATFORM_NOTE = (
    "Using --platform pushes only the specified platform manifest of a multi-platform image index.\n"
    "Other components, like attestations, will not be included.\n"
    "To push the complete multi-platform image, remove the --platform flag.\n"
)
_MISSING_NOTE = (
    "The image is an index of several platforms of which not all are here or in the registry.\n"
    "Pull what is missing, or push one platform with --platform."
)


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Upload an image to a registry, or write it to an OCI layout."""
    refuse_trust(cli, options)
    if not arguments:
        raise ArgumentError(1, 1)
    if len(arguments) > 1:
        return _to_layout(cli, options, arguments)
    platform = _platform(cli, options)
    reference = tagged(cli, options, arguments[0])
    if reference.digest:
        raise Failure("cannot push a digest reference")
    query = {"tag": None if options.on("all-tags") else reference.tag, "platform": platform}
    target = f"/images/{quote(reference.name, b'/:')}/push"
    response = privileged(
        cli,
        reference.domain,
        "push",
        lambda headers: cli.engine.request("POST", target, query, headers=headers),
    )
    notes: list[str] = []
    cli.flush()
    try:
        messages = cli.engine.messages(response)
        show(messages, -1 if options.on("quiet") else 1, lambda aux: notes.extend(_notes(aux)))
    finally:
        for text in notes:
            note(sys.stdout, text)
    if options.on("quiet"):
        cli.out(str(reference))
    return 0


def _platform(cli: Cli, options: Options) -> dict[str, str] | None:
    """Return the platform; DOCKER_DEFAULT_PLATFORM does not count: by default all of the image goes."""
    platform = asked(options, f"Invalid platform {options.text('platform')}")
    if platform:
        note(sys.stdout, _PLATFORM_NOTE)
    return platform


def _notes(aux: Json) -> list[str]:
    if aux.get("manifestPushedInsteadOfIndex"):
        terminal = sys.stdout.isatty()
        index, manifest = aux["originalIndex"]["digest"], aux["selectedManifest"]["digest"]
        shown = (
            f"\033[31m{index}\033[0m -> \033[32m{manifest}\033[0m" if terminal else f"{index} -> {manifest}"
        )
        what = (
            "Not all multiplatform-content is present and only the available single-platform image was pushed"
        )
        return [f"{what}\n{shown}"]
    return [_MISSING_NOTE] if aux.get("contentMissing") else []


def _to_layout(cli: Cli, options: Options, arguments: list[str]) -> int:
    image, target = arguments
    if not target.startswith(LAYOUT):
        raise ArgumentError(1, 1)
    path, name = layout(cli, target)
    query = {"path": path, "reference": image, "tag": name or None, "platform": _platform(cli, options)}
    response = cli.engine.request("POST", "/onggi/v1/oci/push", query)
    show(cli.engine.messages(response), fd=-1 if options.on("quiet") else 1)
    return 0


COMMAND = Command(
    "push [OPTIONS] NAME[:TAG] [oci:DIRECTORY[:TAG]]",
    run,
    about="Upload an image to a registry, or write it to an OCI layout (oci:DIRECTORY[:TAG])",
    flags=(
        ("all-tags", "a", "bool", "", "Push every tag of the repository"),
        TRUST,
        ("platform", "", "string", "", "Push only this platform of the image, os[/arch[/variant]]"),
        ("quiet", "q", "bool", "", "Do not show the progress"),
    ),
    arguments=(0, 2),
)
