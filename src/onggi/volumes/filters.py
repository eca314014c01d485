"""docker's filters of volumes. Pure."""

from __future__ import annotations

import re

from onggi.booleans import BOOLEANS
from onggi.errors import InvalidArgument
from onggi.filters import Filters, check_names, has_labels
from onggi.volumes.model import ANONYMOUS, Volume

_LIST = ("dangling", "driver", "label", "name")
_PRUNE = ("all", "label", "label!")
_LONGEST = 255  # of a pattern


def check_list(filters: Filters) -> None:
    """Raise InvalidArgument in docker's words."""
    check_names(filters, _LIST)
    dangling(filters)


def check_prune(filters: Filters) -> None:
    """Raise InvalidArgument in docker's words."""
    check_names(filters, _PRUNE)
    given = filters.get("all", ())
    if len(given) > 1:
        raise InvalidArgument(f"invalid filter 'all=[{' '.join(given)}]': only one value is expected")
    if given and given[0] not in BOOLEANS:
        raise InvalidArgument(
            f"invalid filter 'all': strconv.ParseBool: parsing \"{given[0]}\": invalid syntax"
        )


def dangling(filters: Filters) -> bool | None:
    """Whether only unused volumes are wanted, only used ones, or (None) both."""
    return _flag(filters, "dangling")


def wanted(volume: Volume, filters: Filters) -> bool:
    """Whether name, driver and labels are those asked for."""
    names, drivers = filters.get("name", ()), filters.get("driver", ())
    return (
        (not names or any(_matches(name, volume.name) for name in names))
        and (not drivers or volume.driver in drivers)
        and has_labels(volume.labels, filters)
    )


def prunable(volume: Volume, filters: Filters) -> bool:
    """Whether prune may take an unused volume: a made-up name unless ``all``, and nothing mounted from
    elsewhere.
    """
    if volume.options or not wanted(volume, filters):
        return False
    return bool(_flag(filters, "all")) or ANONYMOUS in (volume.labels or {})


def _matches(pattern: str, name: str) -> bool:
    """As docker: the name itself, or a regular expression for a part of it."""
    try:
        return pattern == name or re.search(pattern[:_LONGEST], name) is not None
    except (re.error, RecursionError):
        return False


def _flag(filters: Filters, name: str) -> bool | None:
    values = filters.get(name, ())
    if not values:
        return None
    if len({BOOLEANS.get(value) for value in values}) > 1 or values[0] not in BOOLEANS:
        raise InvalidArgument(f"invalid filter '{name}=[{' '.join(values)}]'")
    return BOOLEANS[values[0]]
