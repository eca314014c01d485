"""docker's filters of volumes. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from onggi.errors import InvalidArgument
from onggi.volumes.model import ANONYMOUS, Volume

Filters = Mapping[str, Sequence[str]]
_LIST = ("dangling", "driver", "label", "name")
_PRUNE = ("all", "label", "label!")
_LONGEST = 255  # of a pattern
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


def check_list(filters: Filters) -> None:
    """Raise InvalidArgument in docker's words."""
    _check_names(filters, _LIST)
    dangling(filters)


def check_prune(filters: Filters) -> None:
    """Raise InvalidArgument in docker's words."""
    _check_names(filters, _PRUNE)
    if len(filters.get("all", ())) > 1:
        given = " ".join(filters["all"])
        raise InvalidArgument(f"invalid filter 'all=[{given}]': only one value is expected")
    _flag(filters, "all")


def dangling(filters: Filters) -> bool | None:
    """Whether only unused volumes are wanted, only used ones, or (None) both."""
    return _flag(filters, "dangling")


def wanted(volume: Volume, filters: Filters) -> bool:
    """Whether name, driver and labels are those asked for."""
    names, drivers = filters.get("name", ()), filters.get("driver", ())
    return (
        (not names or any(_matches(name, volume.name) for name in names))
        and (not drivers or volume.driver in drivers)
        and all(_has_label(volume, label) for label in filters.get("label", ()))
        and not any(_has_label(volume, label) for label in filters.get("label!", ()))
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


def _has_label(volume: Volume, label: str) -> bool:
    key, equals, value = label.partition("=")
    labels = volume.labels or {}
    return key in labels and (not equals or labels[key] == value)


def _check_names(filters: Filters, known: Sequence[str]) -> None:
    for name in filters:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name}'")


def _flag(filters: Filters, name: str) -> bool | None:
    values = filters.get(name, ())
    if not values:
        return None
    if len(set(values)) > 1 or values[0] not in _TRUE + _FALSE:
        raise InvalidArgument(f"invalid filter '{name}={values[0]}'")
    return values[0] in _TRUE
