"""Content digests and chain ids (OCI image-spec, descriptor.md "Digests" and config.md "Layer ChainID")."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from onggi.errors import InvalidArgument

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")


def sha256(data: bytes) -> str:
    """The digest of some bytes, ``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check(digest: str) -> str:
    """``digest`` itself if it is a well-formed sha256 digest; raises InvalidArgument before any of it
    becomes a path.
    """
    if not _SHA256.fullmatch(digest):
        raise InvalidArgument(f"invalid digest: {digest[:100]!r}")
    return digest


def hex_of(digest: str) -> str:
    """The hexadecimal part of a checked digest."""
    return check(digest)[7:]


def short(digest: str) -> str:
    """Twelve digits of a digest, as docker shows images and layers."""
    return digest.removeprefix("sha256:")[:12]


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The chain id of each layer, base first: layers with equal chain ids have equal content and equal
    parents.
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(sha256(f"{chain[-1]} {diff_id}".encode()) if chain else check(diff_id))
    return chain


def chain_id(diff_ids: Sequence[str]) -> str:
    """The chain id of the topmost layer, empty without layers."""
    return chain_ids(diff_ids)[-1] if diff_ids else ""
