"""``onggi network``: ``connect``, ``create``, ``disconnect``, ``ls`` and ``rm``."""

from __future__ import annotations

from onggi.cli.command import LIST_FORMAT, Cli, Command, Failure, Options
from onggi.cli.filters import filters, natural
from onggi.cli.format import Row, chosen_form, headers, label_columns, label_header, render_rows
from onggi.cli.network_options import ipam
from onggi.cli.specs import parse_pair
from onggi.client.engine import quote
from onggi.client.errors import ClientError, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json


def connect(cli: Cli, options: Options, arguments: list[str]) -> None:
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
        "DriverOpts": dict(parse_pair(text) for text in options.many("driver-opt")),
        "GwPriority": options.number("gw-priority"),
    }
    body = {"Container": arguments[1], "EndpointConfig": settings}
    cli.engine.post(f"/networks/{quote(arguments[0])}/connect", body=body)


CONNECT = Command(
    "network connect [OPTIONS] NETWORK CONTAINER",
    connect,
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


def disconnect(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Take a container off a network."""
    body = {"Container": arguments[1], "Force": options.on("force")}
    cli.engine.post(f"/networks/{quote(arguments[0])}/disconnect", body=body)


DISCONNECT = Command(
    "network disconnect [OPTIONS] NETWORK CONTAINER",
    disconnect,
    flags=(("force", "f", "bool", "", "Even if the container does not answer"),),
    arguments=(2, 2),
)


def create(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Create a network and print its id."""
    try:
        pools = ipam(options)
    except ValueError as error:
        raise Failure(str(error)) from None
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
        "Labels": dict(parse_pair(text) for text in options.many("label")),
    }
    given = {key: value for key, value in body.items() if value is not None}
    answer = cli.engine.post("/networks/create", body=given)
    if answer.get("Warning"):
        cli.err(f"WARNING: {answer['Warning']}")
    cli.out(answer["Id"])


CREATE = Command(
    "network create [OPTIONS] NETWORK",
    create,
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


_FORMS = {
    "table": ("table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}", "{{.ID}}"),
    "raw": (
        "network_id: {{.ID}}\\nname: {{.Name}}\\ndriver: {{.Driver}}\\nscope: {{.Scope}}\\n",
        "network_id: {{.ID}}",
    ),
}
_HEADERS = headers(
    "Name Driver Scope IPv4 IPv6 Internal Labels Created_At", ID="NETWORK ID", Label=label_header
)


def list_(cli: Cli, options: Options, arguments: list[str]) -> None:
    """List networks."""
    items = cli.engine.get("/networks", {"filters": filters(options.many("filter"))})
    form = chosen_form(cli, options, "networksFormat", _FORMS)
    rows = [_row(item, options.on("no-trunc")) for item in sorted(items, key=natural)]
    print(render_rows(form, rows, _HEADERS), end="")


def _row(item: Json, whole: bool) -> Row:
    """Return the columns of one network of ``GET /networks``."""
    return Row(
        "*network.networkContext",
        ID=item["Id"] if whole else item["Id"][:12],
        Name=item["Name"],
        Driver=item["Driver"],
        Scope=item.get("Scope") or "",
        IPv4=_word(item.get("EnableIPv4")),
        IPv6=_word(item.get("EnableIPv6")),
        Internal=_word(item.get("Internal")),
        **label_columns(item),
        CreatedAt=_moment(item.get("Created") or ""),
    )


def _word(value: Json) -> str:
    return "true" if value else "false"


def _moment(text: str) -> str:
    """Go's ``Time.String`` of a time in UTC."""
    date, _, clock = text.removesuffix("Z").partition("T")
    return f"{date} {clock} +0000 UTC"


LS = Command(
    "network ls [OPTIONS]",
    list_,
    flags=(
        ("filter", "f", "filter", "", 'Show only what matches (e.g. "driver=bridge")'),
        LIST_FORMAT,
        ("no-trunc", "", "bool", "", "Do not shorten ids"),
        ("quiet", "q", "bool", "", "Print ids only"),
    ),
)


def remove(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Remove networks."""
    if cli.each(arguments, lambda name: _remove(cli, name, options.on("force"))):
        raise Failure("exit status 1")  # docker's last line, too


def _remove(cli: Cli, name: str, force: bool) -> None:
    try:
        cli.engine.delete(f"/networks/{quote(name)}")
    except EngineError as error:
        if not (force and error.status == 404):
            raise
        raise ClientError("") from None


RM = Command(
    "network rm NETWORK [NETWORK...]",
    remove,
    flags=(("force", "f", "bool", "", "A network that does not exist is no failure"),),
    arguments=(1, None),
)
