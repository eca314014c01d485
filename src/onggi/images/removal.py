"""docker's rules of removing an image, as a plan. Source: observed behaviour and messages of dockerd 28.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from onggi.errors import Conflict
from onggi.oci import reference as references
from onggi.oci.image import Image

_SHORT = 12


class Plan(msgspec.Struct, frozen=True):
    """Familiar names to take away, and the id to delete, if any."""

    untag: list[str]
    delete: str = ""


def whole(image: Image) -> Plan:
    """Everything of an image goes."""
    return Plan(image.tags, image.id)


def plan(image: Image, ref: str, users: Sequence[tuple[str, bool]], *, force: bool) -> Plan:
    """What removing ``ref`` means; ``users`` are (container id, is running). Raises Conflict in docker's
    words.
    """
    if _is_id(image, ref):
        if len(image.tags) > 1:
            _refuse_unless(force, image, "image is referenced in multiple repositories")
        _check_users(image, users, force)
        return whole(image)
    name = references.parse(ref).with_default_tag().familiar
    if len(image.tags) > 1:
        return Plan([name])
    if users and not force:
        raise Conflict(
            f'conflict: unable to remove repository reference "{ref}" (must force) - container '
            f"{users[0][0][:_SHORT]} is using its referenced image {_short(image)}"
        )
    if any(running for _, running in users):
        return Plan([name])  # forced: the image stays, without a name, while it runs
    return whole(image)


def _check_users(image: Image, users: Sequence[tuple[str, bool]], force: bool) -> None:
    for container_id, running in users:
        if running:
            why = f"image is being used by running container {container_id[:_SHORT]}"
            raise Conflict(f"conflict: unable to delete {_short(image)} (cannot be forced) - {why}")
        _refuse_unless(force, image, f"image is being used by stopped container {container_id[:_SHORT]}")


def _refuse_unless(force: bool, image: Image, why: str) -> None:
    if not force:
        raise Conflict(f"conflict: unable to delete {_short(image)} (must be forced) - {why}")


def _short(image: Image) -> str:
    return image.id.removeprefix("sha256:")[:_SHORT]


def _is_id(image: Image, ref: str) -> bool:
    """Whether ``ref`` found the image by its id; a name that looks like an id goes before."""
    named = (
        len(ref) < 64
        and not ref.startswith("sha256:")
        and references.parse(ref).with_default_tag().familiar in image.tags
    )
    return not named and _begins_id(image, ref)


def _begins_id(image: Image, ref: str) -> bool:
    return image.id.startswith(ref) or image.id.removeprefix("sha256:").startswith(ref)
