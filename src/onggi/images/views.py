"""Images as docker's JSON, and the filters of ``docker images``. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from onggi.errors import InvalidArgument
from onggi.filters import has_labels
from onggi.images.catalog import Filter
from onggi.oci import reference as references
from onggi.oci.image import Image
from onggi.oci.patterns import matches
from onggi.oci.until import instant_ns, parse_until
from onggi.store.rootfs import Overlay
from onggi.times import ZERO, rfc3339_fixed

Json = Any
_EMPTY_CONFIG: Json = {
    **dict.fromkeys(("Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes")),
    "User": "",
    "WorkingDir": "",
}
_TRUE, _FALSE = ("true", "1"), ("false", "0")


def summary(image: Image, patterns: Sequence[str] = ()) -> Json:
    """One line of ``docker images`` (Engine API, ImageSummary); with ``patterns`` only names that match."""
    named, digests = (
        [name for name in names if not patterns or _named(patterns, name)]
        for names in (image.tags, image.digests)
    )
    return {
        "Containers": -1,
        "Created": epoch(image.created),
        "Id": image.id,
        "Labels": (image.config.get("config") or {}).get("Labels"),
        "ParentId": image.parent,
        "RepoDigests": digests,
        "RepoTags": named,
        "SharedSize": -1,
        "Size": image.size,
    }


class Stored(NamedTuple):
    """Where an image lies: its storage driver, its layers' directories (top first), the view below them."""

    driver: str
    directories: Sequence[str]
    overlays: Sequence[Overlay]


def labels_of(image: Image) -> dict[str, str]:
    """What the image's config says of it."""
    return (image.config.get("config") or {}).get("Labels") or {}


def detail(image: Image, tagged_ns: int, stored: Stored) -> Json:
    """``docker image inspect`` (Engine API, ImageInspect)."""
    directories, overlays = stored.directories, stored.overlays
    config = image.config
    history = config.get("history") or [{}]
    data: dict[str, str] = {}
    if directories:
        data = {"UpperDir": directories[0], "LowerDir": ":".join(directories[1:])}
    if image.base:
        # Each file system that the view shows, with how much of it is hidden: nothing is silently empty.
        data |= {f"Filesystem {it.target}": f"{len(it.masks)} paths hidden" for it in overlays} | {
            "Base": image.base
        }
    result = {
        "Id": image.id,
        "RepoTags": image.tags,
        "RepoDigests": image.digests,
        "Parent": image.parent,
        "Comment": history[-1].get("comment", ""),
        "Created": image.created or ZERO,
        "DockerVersion": "",
        "Author": config.get("author", ""),
        "Config": _EMPTY_CONFIG | (config.get("config") or {}),
        "Architecture": config.get("architecture", ""),
        "Os": config.get("os", ""),
        "Size": image.size,
        "GraphDriver": {"Data": data or None, "Name": stored.driver},
        "RootFS": {"Type": "layers", "Layers": image.layers},
        "Metadata": {"LastTagTime": rfc3339_fixed(tagged_ns) if tagged_ns else ZERO},
    }
    return result | ({"Variant": config["variant"]} if config.get("variant") else {})


def history(image: Image, sizes: Sequence[int]) -> list[Json]:
    """``docker history``: one record per step, newest first; ``sizes`` are of the layers, base first."""
    left = list(sizes)
    steps = image.config.get("history") or []
    records = [_step(it, image, 0 if it.get("empty_layer") or not left else left.pop(0)) for it in steps]
    records.reverse()
    if records:
        records[0] |= {"Id": image.id, "Tags": image.tags or None}
    return records


def _step(step: Json, image: Image, size: int) -> Json:
    return {
        "Comment": step.get("comment", ""),
        "Created": epoch(step.get("created") or image.created),
        "CreatedBy": step.get("created_by", ""),
        "Id": "<missing>",
        "Size": size,
        "Tags": None,
    }


def epoch(created: str) -> int:
    """Seconds since 1970 of an RFC 3339 time; 0 where there is none."""
    return _moment(created) // 10**9


def _moment(created: str) -> int:
    try:
        return instant_ns(created)
    except ValueError:
        return 0


def filters(asked: Mapping[str, Sequence[str]], find: Callable[[str], Image]) -> list[Filter]:
    """Compile docker's filters; raises InvalidArgument for one that does not exist, NotFound for an unknown
    image.
    """
    compiled: list[Filter] = []
    for key, values in asked.items():
        make = _FILTERS.get(key)
        if make is None:
            raise InvalidArgument(f"invalid filter '{key}'")
        compiled.append(make(list(values), find))
    return compiled


def _reference(patterns: list[str], _: Callable[[str], Image]) -> Filter:
    return lambda image: any(_named(patterns, name) for name in (*image.tags, *image.digests))


def _named(patterns: Sequence[str], tag: str) -> bool:
    reference = references.parse(tag)
    return any(matches(pattern, reference) for pattern in patterns)


def _dangling(values: list[str], _: Callable[[str], Image]) -> Filter:
    if len(values) != 1 or values[0].lower() not in _TRUE + _FALSE:
        raise InvalidArgument(f"invalid value for filter 'dangling': {', '.join(values)}")
    wanted = values[0].lower() in _TRUE
    return lambda image: (not image.tags) == wanted


def _label(values: list[str], _: Callable[[str], Image]) -> Filter:
    return lambda image: has_labels(labels_of(image), {"label": values})


def _without_label(values: list[str], _: Callable[[str], Image]) -> Filter:
    return lambda image: has_labels(labels_of(image), {"label!": values})


def _before(values: list[str], find: Callable[[str], Image]) -> Filter:
    limit = min(_moment(find(value).created) for value in values)
    return lambda image: _moment(image.created) < limit


def _since(values: list[str], find: Callable[[str], Image]) -> Filter:
    limit = max(_moment(find(value).created) for value in values)
    return lambda image: _moment(image.created) > limit


def _until(values: list[str], _: Callable[[str], Image]) -> Filter:
    limit = min(parse_until(value, time.time_ns()) for value in values)
    return lambda image: _moment(image.created) < limit


_FILTERS: dict[str, Callable[[list[str], Callable[[str], Image]], Filter]] = {
    "reference": _reference,
    "dangling": _dangling,
    "label": _label,
    "label!": _without_label,
    "before": _before,
    "since": _since,
    "until": _until,
}
