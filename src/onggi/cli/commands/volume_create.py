"""``onggi volume create``."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.command import Flag
    from onggi.cli.context import Cli

_OF_SWARMS: tuple[Flag, ...] = (
    ("availability", "", "string", "active", "Availability of a volume of a swarm (active, pause, drain)"),
    ("group", "", "string", "", "Group of a volume of a swarm"),
    ("limit-bytes", "", "bytes", "", "Least size of a volume of a swarm in bytes"),
    ("required-bytes", "", "bytes", "", "Largest size of a volume of a swarm in bytes"),
    ("scope", "", "string", "single", "Nodes that use a volume of a swarm (single, multi)"),
    ("secret", "", "map", "map[]", "Secrets of a volume of a swarm"),
    ("sharing", "", "string", "none", "Sharing of a volume of a swarm (none, readonly, onewriter, all)"),
    ("topology-preferred", "", "list", "", "Topology that a volume of a swarm prefers"),
    ("topology-required", "", "list", "", "Topology that a volume of a swarm needs"),
    ("type", "", "string", "block", "Access to a volume of a swarm (mount, block)"),
)


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Create a volume, or find the one that has the name."""
    if asked := [name for name, *_ in _OF_SWARMS if name in options.given]:
        raise Failure(f"--{asked[0]}: cluster volumes need a swarm, which this engine does not have")
    if arguments and options.text("name"):
        words = (
            "conflicting options: cannot specify a volume name through both --name and as a positional arg"
        )
        raise Failure(words)
    name = arguments[0] if arguments else options.text("name")
    labels = (text.partition("=") for text in options.many("label"))
    body = {
        "Name": name or None,
        "Driver": options.text("driver"),
        "DriverOpts": dict(options.many("opt")) or None,
        "Labels": {key: value for key, _, value in labels} or None,
    }
    given = {key: value for key, value in body.items() if value is not None}
    cli.out(cli.engine.post("/volumes/create", body=given)["Name"])
    return 0


COMMAND = Command(
    "volume create [OPTIONS] [VOLUME]",
    "Create a volume",
    run,
    flags=tuple(
        sorted(
            (
                *_OF_SWARMS,
                ("driver", "d", "string", "local", "Driver of the volume"),
                ("label", "", "list:label", "", "Set a label"),
                ("name", "", "string", "", ""),
                ("opt", "o", "map", "map[]", "Option of the driver: type, device, o"),
            )
        )
    ),
    arguments=(0, 1),
)
