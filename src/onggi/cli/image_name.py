"""Image references as people type them."""

from __future__ import annotations

from onggi.cli.command import Failure
from onggi.errors import InvalidArgument
from onggi.oci.reference import Reference, check_digest, is_id, parse


def typed_reference(text: str) -> Reference:
    """Return the normal reference of what was typed. Raises Failure."""
    try:
        return parse(text)
    except InvalidArgument as error:
        raise Failure(str(error)) from None


def parse_any(text: str) -> Reference | None:
    """Return the reference of what ``run`` is given, None if it is an image's ID. Raises InvalidArgument."""
    if is_id(text):
        return None
    try:
        check_digest(text)
    except InvalidArgument:
        return parse(text)
    return None
