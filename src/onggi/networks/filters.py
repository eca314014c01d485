"""docker's filters for lists of networks and for prune."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from onggi.errors import InvalidArgument
from onggi.networks.core import Core
from onggi.networks.model import Network

Filters = Mapping[str, Sequence[str]]
LIST = frozenset(["dangling", "driver", "id", "label", "name", "scope", "type"])
PRUNE = frozenset(["label", "label!"])


def check(filters: Filters, known: frozenset[str] = LIST) -> None:
    """docker's words for filters that do not exist."""
    for name in filters:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name}'")


def predicate(core: Core, filters: Filters) -> Callable[[Network], bool]:
    """All filters hold; values of one are alternatives, labels add up."""
    check(filters, LIST | PRUNE)
    for value in filters.get("dangling", ()):
        if value.lower() not in ("1", "true", "0", "false"):
            raise InvalidArgument(f"invalid filter 'dangling={value}'")
    for value in filters.get("type", ()):
        if value not in ("builtin", "custom"):
            raise InvalidArgument(f'invalid filter: "type"="{value}"')

    def wanted(network: Network) -> bool:
        return all(_holds(core, network, name, values) for name, values in filters.items() if values)

    return wanted


def _holds(core: Core, network: Network, name: str, values: Sequence[str]) -> bool:
    match name:
        case "name":
            return any(_in_name(value, network.name) for value in values)
        case "id":
            return any(network.id.startswith(value) for value in values)
        case "driver":
            return network.driver in values
        case "scope":
            return "local" in values
        case "type":
            return ("custom" if network.user_defined else "builtin") in values
        case "label":
            return all(_has_label(network, value) for value in values)
        case "label!":
            return not any(_has_label(network, value) for value in values)
        case "dangling":
            unused = network.user_defined and not core.members(network)
            return unused == (values[0].lower() in ("1", "true"))
        case _:
            return True


def _in_name(value: str, name: str) -> bool:
    try:
        return value in name or re.search(value, name) is not None
    except re.error:
        return False


def _has_label(network: Network, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in network.labels and (not equals or network.labels[key] == value)
