"""Old links (``--link name:alias`` on the default network): what a container is told of its neighbours. Pure.

``HostConfig.Links`` is all that is known of them, as ``<id>:/<its name>/alias``; names follow from it: a
container that ``name`` links as ``alias`` is called ``name/alias`` too.

docker's variables of a linked container stand in the environment of the one that links: its name, its exposed
ports and its own environment, each with the alias in front.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from onggi.containers import names
from onggi.containers.model import Container
from onggi.containers.request import ContainerConfig, HostConfig
from onggi.errors import InvalidArgument, NotFound

WITHOUT = "can't be used with links. This would result in undefined behavior"
_NOT_PASSED = frozenset(["HOME", "PATH", "HOSTNAME", "TERM"])


def split(entry: str) -> tuple[str, str]:
    """(container, alias) of ``container[:alias]``; docker writes both with slashes in places."""
    name, _, alias = entry.partition(":")
    return name.strip("/"), (alias.rpartition("/")[2] or name.strip("/"))


def by_alias(host: HostConfig) -> dict[str, str]:
    """The container of each alias; of one alias the first. On networks of users links belong to endpoints."""
    found: dict[str, str] = {}
    for entry in (host.links or []) if host.network_mode in ("bridge", "none") else []:
        name, alias = split(entry)
        found.setdefault(alias, name)
    return found


def entry(target: Container, alias: str) -> str:
    """A link as it is kept: found by the id, and called by its last name when the container is gone."""
    return f"{target.id}:/{target.name}/{alias}"


def renamed(host: HostConfig, target: Container) -> list[str]:
    """The links of a container when one that they may lead to has got another name."""
    kept = host.links or []
    return [entry(target, alias) if ref == target.id else old for old in kept for ref, alias in [split(old)]]


def children(
    parent: Container, known: Mapping[str, Container], taken: Mapping[str, str]
) -> dict[str, Container]:
    """The containers that links lead to and that are still ``known``, by alias; ``taken`` has their names."""
    found = {}
    for alias, ref in by_alias(parent.spec.host_config).items():
        with contextlib.suppress(NotFound, InvalidArgument):
            found[alias] = known[names.find_id(ref, known, taken.get)]
    return found


def lost(parent: Container, found: Mapping[str, Container]) -> dict[str, str]:
    """What removed containers that are linked were called, by alias; ``found`` are those that are left."""
    kept = {split(old)[1]: _last_name(old) for old in parent.spec.host_config.links or []}
    return {alias: name for alias, name in kept.items() if alias not in found}


def _last_name(kept: str) -> str:
    target, _, rest = kept.partition(":")
    return rest.strip("/").rpartition("/")[0] or target


def named(name: str, known: Mapping[str, Container], taken: Mapping[str, str]) -> str | None:
    """The id of the container that has a name, of its own or by a link."""
    owner, _, alias = name.rpartition("/")
    parent = taken.get(owner) if owner else None
    child = children(known[parent], known, taken).get(alias) if parent else None
    return child.id if child else taken.get(name)


def all_names(known: Mapping[str, Container], taken: Mapping[str, str]) -> dict[str, list[str]]:
    """The names of each container by its id, its own and those of links, as docker orders them."""
    found = {entry.id: [f"/{entry.name}"] for entry in known.values()}
    for parent in known.values():
        for alias, child in children(parent, known, taken).items():
            found[child.id].append(f"/{parent.name}/{alias}")
    return {container_id: sorted(names) for container_id, names in found.items()}


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
