"""``onggi network create``."""

from __future__ import annotations

from onggi.cli.command import Command, Failure, Options
from onggi.cli.network_options import ipam

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Create a network and print its id."""
    try:
        pools = ipam(options)
    except ValueError as error:
        raise Failure(str(error)) from None
    labels = (text.partition("=") for text in options.many("label"))
    source = options.text("config-from")
    body = {
        "Name": arguments[0],
        "Driver": options.text("driver"),
        "Scope": options.text("scope"),
        "EnableIPv4": options.on("ipv4") if "ipv4" in options.given else None,
        "EnableIPv6": options.on("ipv6") if "ipv6" in options.given else None,
        "IPAM": pools,
        "Internal": options.on("internal"),
        "Attachable": options.on("attachable"),
        "Ingress": options.on("ingress"),
        "ConfigOnly": options.on("config-only"),
        "ConfigFrom": {"Network": source} if source else None,
        "Options": dict(options.many("opt")),
        "Labels": {key: value for key, _, value in labels},
    }
    given = {key: value for key, value in body.items() if value is not None}
    answer = cli.engine.post("/networks/create", body=given)
    if answer.get("Warning"):
        cli.err(f"WARNING: {answer['Warning']}")
    cli.out(answer["Id"])
    return 0


COMMAND = Command(
    "network create [OPTIONS] NETWORK",
    "Create a network",
    run,
    flags=(
        ("attachable", "", "bool", "", "Let containers be connected by hand (always so here)"),
        ("aux-address", "", "map", "map[]", "Addresses that no container gets, NAME=ADDRESS"),
        ("config-from", "", "string", "", "Network to take the configuration from"),
        ("config-only", "", "bool", "", "Create a configuration for other networks only"),
        ("driver", "d", "string", "bridge", "Driver of the network: bridge, macvlan, ipvlan"),
        ("gateway", "", "strings", "", "Address of the gateway in a subnet"),
        ("ingress", "", "bool", "", "Create the routing mesh of a swarm"),
        ("internal", "", "bool", "", "Lead nowhere outside"),
        ("ip-range", "", "strings", "", "Part of a subnet that containers get addresses from"),
        ("ipam-driver", "", "string", "default", "Driver of address management"),
        ("ipam-opt", "", "map", "map[]", "Option of that driver"),
        ("ipv4", "", "bool", "true", "Give containers IPv4 addresses"),
        ("ipv6", "", "bool", "", "Give containers IPv6 addresses"),
        ("label", "", "list:label", "", "Set a label"),
        ("opt", "o", "map", "map[]", "Option of the driver"),
        ("scope", "", "string", "", "Scope of the network"),
        ("subnet", "", "strings", "", "Addresses of the network, in CIDR notation"),
    ),
    arguments=(1, 1),
)
