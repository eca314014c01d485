"""Rows of ``images``: the columns of docker's image list. Pure but for the clock."""

from __future__ import annotations

from onggi.cli.filters import short_id
from onggi.cli.format import Row, headers
from onggi.cli.times import ago, human_size, local_text
from onggi.errors import InvalidArgument
from onggi.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from onggi.client.codec import Json

NONE = "<none>"
_CREATED = "{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}"
_TABLE = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t" + _CREATED + "\t{{.Size}}"
_DIGEST_TABLE = _TABLE.replace("{{.Tag}}", "{{.Tag}}\t{{.Digest}}")
_RAW = (
    "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\n"
    "created_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
)
_DIGEST_RAW = _RAW.replace("image_id", "digest: {{.Digest}}\nimage_id")
FORMS = {"table": (_TABLE, "{{.ID}}"), "raw": (_RAW, "image_id: {{.ID}}")}
DIGEST_FORMS = {"table": (_DIGEST_TABLE, "{{.ID}}"), "raw": (_DIGEST_RAW, "image_id: {{.ID}}")}
HEADERS = headers(
    "Repository Tag Digest Created_At Size Containers Shared_Size Unique_Size",
    ID="IMAGE ID",
    CreatedSince="CREATED",
    VirtualSize="SIZE",
)


def is_dangling(item: Json) -> bool:
    """Whether an image has no name at all."""
    tags, digests = item.get("RepoTags") or [], item.get("RepoDigests") or []
    return (not tags and not digests) or (tags == ["<none>:<none>"] and digests == ["<none>@<none>"])


def image_rows(item: Json, truncate: bool, with_digests: bool, digest_rows: bool) -> Iterator[Row]:
    """Yield one row per name of an image of ``GET /images/json``; per digest too ``with_digests``.

    Names that are known by digest only get a row each, with ``digest_rows`` one per digest.
    """
    if is_dangling(item):
        yield _row(item, (NONE, NONE, NONE), truncate)
        return
    tags, digests = _by_name(item.get("RepoTags"), "tag"), _by_name(item.get("RepoDigests"), "digest")
    for name, labels in tags.items():
        held = digests.pop(name, []) if with_digests else digests.pop(name, [])[:0]
        for label in labels:
            for digest in held or [NONE]:
                yield _row(item, (name, label, digest), truncate)
    for name, held in digests.items():
        for digest in held if digest_rows else [""]:
            yield _row(item, (name, NONE, digest), truncate)


def _by_name(texts: list[str] | None, part: str) -> dict[str, list[str]]:
    """Group tags or digests by the names they belong to."""
    result: dict[str, list[str]] = {}
    for text in texts or []:
        try:
            reference = parse(text)
        except InvalidArgument:
            continue  # <none>@<none>
        value = getattr(reference, part)
        if value:
            result.setdefault(reference.familiar_name, []).append(value)
    return result


def _row(item: Json, named: tuple[str, str, str], truncate: bool) -> Row:
    size, shared = item.get("Size") or 0, item.get("SharedSize", -1)
    containers = item.get("Containers", -1)
    return Row(
        "*formatter.imageContext",
        ID=short_id(item["Id"]) if truncate else item["Id"],
        Repository=named[0],
        Tag=named[1],
        Digest=named[2],
        CreatedSince=ago(item.get("Created") or 0),
        CreatedAt=local_text(item.get("Created") or 0),
        Size=human_size(size, 3),
        Containers="N/A" if containers == -1 else str(containers),
        VirtualSize=human_size(size, 4),
        SharedSize="N/A" if shared == -1 else human_size(shared),
        UniqueSize="N/A" if shared == -1 else human_size(size - shared),
    )
