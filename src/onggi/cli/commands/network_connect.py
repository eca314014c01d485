"""``onggi network connect``."""

from __future__ import annotations

from onggi.cli.command import Command, Options
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Connect a container to a network."""
    addresses = {
        "IPv4Address": options.text("ip"),
        "IPv6Address": options.text("ip6"),
        "LinkLocalIPs": options.many("link-local-ip"),
    }
    settings = {
        "IPAMConfig": {key: value for key, value in addresses.items() if value},
        "Links": options.many("link"),
        "Aliases": options.many("alias"),
        "DriverOpts": dict(_pair(text) for text in options.many("driver-opt")),
        "GwPriority": options.number("gw-priority"),
    }
    body = {"Container": arguments[1], "EndpointConfig": settings}
    cli.engine.post(f"/networks/{quote(arguments[0])}/connect", body=body)
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


COMMAND = Command(
    "network connect [OPTIONS] NETWORK CONTAINER",
    "Connect a container to a network",
    run,
    flags=(
        ("alias", "", "strings", "", "Another name for the container on the network"),
        ("driver-opt", "", "strings", "", "Option of the driver"),
        ("gw-priority", "", "int", "", "The network of the highest priority leads out"),
        ("ip", "", "string", "", "IPv4 address (e.g. 172.30.100.104)"),
        ("ip6", "", "string", "", "IPv6 address (e.g. 2001:db8::33)"),
        ("link", "", "list", "", "A container, and what it is to be called: NAME:ALIAS"),
        ("link-local-ip", "", "strings", "", "A link-local address"),
    ),
    arguments=(2, 2),
)
