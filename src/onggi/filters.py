"""docker's filters: what every list and every prune does alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from onggi.errors import InvalidArgument

Filters = Mapping[str, Sequence[str]]


def check_names(names: Iterable[str], known: Collection[str]) -> None:
    """Raise InvalidArgument in docker's words for a filter that does not exist."""
    for name in names:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name}'")


def has_labels(labels: Mapping[str, str] | None, filters: Filters) -> bool:
    """Whether every ``label`` is there and no ``label!``, each ``key`` or ``key=value``."""
    found = labels or {}
    return all(_has(found, value) for value in filters.get("label", ())) and not any(
        _has(found, value) for value in filters.get("label!", ())
    )


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
