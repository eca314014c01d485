"""docker's rules of removing an image, as a plan. Source: observed behaviour and messages of dockerd 28.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from onggi.errors import Conflict
from onggi.oci import reference as references
from onggi.oci.digest import short
from onggi.oci.image import Image


class Plan(msgspec.Struct, frozen=True):
    """Familiar names and digest references to take away, and the id to delete, if any."""

    untag: list[str]
    delete: str = ""


def whole(image: Image) -> Plan:
    """Everything of an image goes."""
    return Plan([*image.tags, *image.digests], image.id)


def plan(image: Image, ref: str, users: Sequence[tuple[str, bool]], *, force: bool) -> Plan:
    """What removing ``ref`` means; ``users`` are (container id, is running). Raises Conflict in docker's
    words.
    """
    if _is_id(image, ref):
        _refuse_running(image, users)
        if not _is_single(image):
            _refuse_unless(force, image, "image is referenced in multiple repositories")
        for container_id, _ in users:
            _refuse_unless(force, image, f"image is being used by stopped container {short(container_id)}")
        return whole(image)
    if users and not force and _is_single(image):
        raise Conflict(
            f'conflict: unable to remove repository reference "{ref}" (must force) - container '
            f"{short(users[0][0])} is using its referenced image {short(image.id)}"
        )
    gone = _named(image, ref)
    if len(gone) < len(image.tags) + len(image.digests):
        return Plan(gone)
    if any(running for _, running in users):
        return Plan(gone)  # forced: the image stays, without a name, while it runs
    return Plan(gone, image.id)


def _named(image: Image, ref: str) -> list[str]:
    """The reference itself and, behind the last tag of its repository, the digests of that repository."""
    reference = references.parse(ref).with_default_tag()
    if reference.digest:
        return [reference.familiar]
    others = [tag for tag in image.tags if tag != reference.familiar]
    if any(references.parse(tag).name == reference.name for tag in others):
        return [reference.familiar]
    own = [it for it in image.digests if references.parse(it).name == reference.name]
    return [reference.familiar, *own]


def _is_single(image: Image) -> bool:
    """Whether all references to the image are one tag and the digests of its repository, or fewer."""
    if len(image.tags) + len(image.digests) <= 1:
        return True
    if len(image.tags) > 1:
        return False
    repositories = {references.parse(it).name for it in image.digests}
    first = references.parse([*image.tags, *image.digests][0]).name
    return repositories == {first}


def _refuse_running(image: Image, users: Sequence[tuple[str, bool]]) -> None:
    for container_id, running in users:
        if running:
            why = f"image is being used by running container {short(container_id)}"
            raise Conflict(f"conflict: unable to delete {short(image.id)} (cannot be forced) - {why}")


def _refuse_unless(force: bool, image: Image, why: str) -> None:
    if not force:
        raise Conflict(f"conflict: unable to delete {short(image.id)} (must be forced) - {why}")


def _is_id(image: Image, ref: str) -> bool:
    """Whether ``ref`` found the image by its id; a name that looks like an id goes before."""
    if "@" in ref:
        return False
    named = (
        len(ref) < 64
        and not ref.startswith("sha256:")
        and references.parse(ref).with_default_tag().familiar in image.tags
    )
    return not named and _begins_id(image, ref)


def _begins_id(image: Image, ref: str) -> bool:
    return image.id.startswith(ref) or image.id.removeprefix("sha256:").startswith(ref)
