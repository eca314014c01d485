"""docker's filters for lists of networks and for prune."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from onggi.errors import InvalidArgument
from onggi.filters import Filters, check_names, has_labels
from onggi.networks.core import Core
from onggi.networks.model import Network

LIST = frozenset(["dangling", "driver", "id", "label", "name", "scope", "type"])
PRUNE = frozenset(["label", "label!"])


def predicate(core: Core, filters: Filters) -> Callable[[Network], bool]:
    """All filters hold; values of one are alternatives, labels add up."""
    check_names(filters, LIST | PRUNE)
    dangling = filters.get("dangling", ())
    if len(dangling) > 1:
        raise InvalidArgument('got more than one value for filter key "dangling"')
    if dangling and dangling[0] not in ("1", "true", "0", "false"):
        raise InvalidArgument(
            'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'
        )
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
            return network.shown_driver in values
        case "scope":
            return "local" in values
        case "type":
            return ("custom" if network.user_defined else "builtin") in values
        case "label" | "label!":
            return has_labels(network.labels, {name: values})
        case "dangling":
            unused = network.user_defined and not core.members(network)
            return unused == (values[0] in ("1", "true"))
        case _:
            return True


def _in_name(value: str, name: str) -> bool:
    try:
        return value in name or re.search(value, name) is not None
    except re.error:
        return False
