"""Rows of ``images``: the columns of docker's image list. Pure but for the clock."""

from __future__ import annotations

from onggi.cli.filters import short_id
from onggi.cli.format import Row
from onggi.cli.image_name import short_name, split_reference
from onggi.cli.times import ago, human_size, local_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Json = Any

GO_TYPE = "*formatter.imageContext"
NONE = "<none>"
TABLE = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
DIGEST_TABLE = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
HEADERS: dict[str, Json] = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}


def image_rows(item: Json, truncate: bool, digests: bool) -> Iterator[Row]:
    """Yield one row per name of an image of ``GET /images/json``; per digest too where digests are shown."""
    tags = [tag for tag in item.get("RepoTags") or [] if tag != "<none>:<none>"]
    held: dict[str, list[str]] = {}
    for text in item.get("RepoDigests") or []:
        name, _, digest = split_reference(text)
        if digest and name != NONE:
            held.setdefault(short_name(name), []).append(digest)
    for tag in tags:
        name, label, _ = split_reference(tag)
        name = short_name(name)
        known = held.get(name, []) if digests else []
        for digest in known or [NONE]:
            yield _row(item, name, label, digest, truncate)
    tagged = {short_name(split_reference(tag)[0]) for tag in tags}
    for name in held:
        if name not in tagged:
            for digest in held[name] if digests else held[name][:1]:
                yield _row(item, name, NONE, digest if digests else NONE, truncate)
    if not tags and not held:
        yield _row(item, NONE, NONE, NONE, truncate)


def _row(item: Json, name: str, tag: str, digest: str, truncate: bool) -> Row:
    size, shared = item.get("Size") or 0, item.get("SharedSize", -1)
    containers = item.get("Containers", -1)
    row = Row(
        ID=short_id(item["Id"]) if truncate else item["Id"],
        Repository=name,
        Tag=tag,
        Digest=digest,
        CreatedSince=ago(item.get("Created") or 0),
        CreatedAt=local_text(item.get("Created") or 0),
        Size=human_size(size, 3),
        Containers="N/A" if containers == -1 else str(containers),
        VirtualSize=human_size(size, 4),
        SharedSize="N/A" if shared == -1 else human_size(shared),
        UniqueSize="N/A" if shared == -1 else human_size(size - shared),
    )
    row.go_type = GO_TYPE
    return row
