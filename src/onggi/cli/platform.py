"""``--platform``, and platforms as docker's command writes them."""

from __future__ import annotations

from onggi.cli.command import Failure, Options
from onggi.errors import InvalidArgument
from onggi.oci.platform_specifier import COMMAND, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def format_platform(platform: Mapping[str, str]) -> str:
    """Return ``os/arch[/variant]``; "unknown" without a system."""
    parts = [platform.get(key) or "" for key in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part) if parts[0] else "unknown"


def parse_platform(text: str) -> dict[str, str]:
    """Return the platform with OCI's keys. Raises InvalidArgument in the words of docker's command."""
    return parse(text, COMMAND)


def typed(text: str, prefix: str = "") -> dict[str, str]:
    """Return the platform that was typed. Raises Failure, its words behind ``prefix``."""
    try:
        return parse_platform(text)
    except InvalidArgument as error:
        raise Failure(f"{prefix}{error}") from None


def asked(options: Options, prefix: str = "") -> dict[str, str] | None:
    """Return the platform of ``--platform`` if given. Raises Failure, its words behind ``prefix``."""
    return typed(options.text("platform"), prefix) if options.text("platform") else None


def typed_or_default(options: Options, env: Mapping[str, str]) -> str:
    """Return ``--platform`` as typed, else DOCKER_DEFAULT_PLATFORM, for the commands that heed it."""
    default = env.get("DOCKER_DEFAULT_PLATFORM", "")
    return options.text("platform") if "platform" in options.given else default
