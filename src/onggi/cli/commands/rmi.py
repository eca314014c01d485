"""``onggi rmi``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Options
from onggi.cli.platform import typed
from onggi.client.engine import quote
from onggi.client.errors import ClientError, EngineError

_NOT_FOUND = 404


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove images and print what was untagged and deleted; with --force an absent image is no failure."""
    force = options.on("force")
    query = {
        "force": force or None,
        "noprune": options.on("no-prune") or None,
        "platforms": _platforms(options) or None,
    }
    errors: list[ClientError] = []
    for name in arguments:
        try:
            for item in cli.engine.delete(f"/images/{quote(name, b'/:')}", query) or []:
                deleted = item.get("Deleted")
                cli.out(f"Deleted: {deleted}" if deleted else f"Untagged: {item['Untagged']}")
        except ClientError as error:
            errors.append(error)
    status = cli.tell(errors)
    absent = all(isinstance(each, EngineError) and each.status == _NOT_FOUND for each in errors)
    return 0 if force and absent else status


def _platforms(options: Options) -> list[dict[str, str]]:
    asked = [typed(part) for text in options.many("platform") for part in text.split(",")]
    return [platform for at, platform in enumerate(asked) if platform not in asked[:at]]


COMMAND = Command(
    "rmi [OPTIONS] IMAGE [IMAGE...]",
    run,
    flags=(
        ("force", "f", "bool", "", "Remove the image even if containers refer to it"),
        ("no-prune", "", "bool", "", "Keep untagged parents"),
        ("platform", "", "strings", "", "Remove only this platform, os[/arch[/variant]]"),
    ),
    arguments=(1, None),
)
