"""Names that clients send: repositories, tags and digests, checked before anything is looked up.

Source: distribution-spec, "Pulling manifests"; image-spec descriptor.md, "Registered Algorithms".
"""

from __future__ import annotations

import hashlib
import re

from onggi.registry.server.refusals import DigestInvalid, NameInvalid, TagInvalid

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
MAX_NAME = 255


def repository(text: str) -> str:
    """A well-formed repository name. Raises NameInvalid."""
    if len(text) > MAX_NAME or not _NAME.fullmatch(text):
        raise NameInvalid({"name": text[:MAX_NAME]})
    return text


def digest(text: str) -> str:
    """A well-formed digest of an algorithm that we know. Raises DigestInvalid."""
    if not _DIGEST.fullmatch(text):
        raise DigestInvalid(
            {"digest": text[:MAX_NAME]}, message="invalid digest: expected sha256 or sha512 in hexadecimal"
        )
    return text


def tag(text: str) -> str:
    """A well-formed tag. Raises TagInvalid."""
    if not _TAG.fullmatch(text):
        raise TagInvalid({"tag": text[:MAX_NAME]}, message="invalid tag name")
    return text


def is_digest(reference: str) -> bool:
    """Whether a reference can only be a digest: tags have no colon."""
    return ":" in reference


def digest_of(data: bytes, like: str = "sha256") -> str:
    """The digest of some bytes, of the same algorithm as ``like``."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
