"""Old links (``--link name:alias`` on the default network): what a container is told of its neighbours. Pure.

docker's variables of a linked container stand in the environment of the one that links: its name, its exposed
ports and its own environment, each with the alias in front.
"""

from __future__ import annotations

from collections.abc import Iterable

from onggi.containers.request import ContainerConfig

_NOT_PASSED = frozenset(["HOME", "PATH", "HOSTNAME", "TERM"])


def split(entry: str) -> tuple[str, str]:
    """(container, alias) of ``container[:alias]``; docker writes both with slashes in places."""
    name, _, alias = entry.partition(":")
    return name.strip("/"), (alias.rpartition("/")[2] or name.strip("/"))


def variables(own_name: str, alias: str, address: str, config: ContainerConfig) -> list[str]:
    """The variables that speak of one linked container."""
    prefix = alias.upper().replace("-", "_")
    ports = sorted(_port(text) for text in config.exposed_ports)
    lines = [f"{prefix}_PORT={_url(address, *ports[0])}"] if ports else []
    for number, protocol in ports:
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        lines += [
            f"{name}={_url(address, number, protocol)}",
            f"{name}_ADDR={address}",
            f"{name}_PORT={number}",
            f"{name}_PROTO={protocol}",
        ]
    lines.append(f"{prefix}_NAME=/{own_name}/{alias}")
    return lines + [f"{prefix}_ENV_{entry}" for entry in _passed(config.env)]


def _passed(env: Iterable[str]) -> list[str]:
    return [entry for entry in env if "=" in entry and entry.partition("=")[0] not in _NOT_PASSED]


def _port(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    return int(number.partition("-")[0]), protocol or "tcp"


def _url(address: str, number: int, protocol: str) -> str:
    return f"{protocol}://{address}:{number}"
