"""``onggi port``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.containers import path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print the published ports of a container, or where one of them is published."""
    name = arguments[0]
    answer = cli.engine.get(f"{path(name)}/json")
    ports: dict[str, Json] = (answer.get("NetworkSettings") or {}).get("Ports") or {}
    if len(arguments) == 1:
        lines = [f"{port} -> {address}" for port in ports for address in _addresses(ports[port])]
        for line in sorted(lines, key=lambda line: (int(line.partition("/")[0]), line)):
            cli.out(line)
        return 0
    number, slash, protocol = arguments[1].partition("/")
    bindings = ports.get(f"{number}/{protocol if slash else 'tcp'}")
    if not bindings:
        raise Failure(f"Error: No public port '{arguments[1]}' published for {name}")
    for address in _addresses(bindings):
        cli.out(address)
    return 0


def _addresses(bindings: Json) -> list[str]:
    hosts = ((item["HostIp"], item["HostPort"]) for item in bindings or [])
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in hosts]


COMMAND = Command(
    "port CONTAINER [PRIVATE_PORT[/PROTO]]",
    run,
    arguments=(1, 2),
)
