"""--cache-from and --cache-to of ``build``: docker's words for where a cache is."""

from __future__ import annotations

import os

from onggi.cli.command import Failure
from onggi.cli.specs import split_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_FROM = {"registry": ("ref",), "local": ("src", "digest", "tag")}
_TO = {
    "registry": ("ref", "mode", "ignore-error", "mounts"),
    "local": ("dest", "tag", "mode", "ignore-error", "mounts"),
    "inline": (),
}
# Attributes whose one value is how it is done here anyway.
_FIXED = {"oci-mediatypes": "true", "image-manifest": "true", "compression": "gzip"}


def cache_from(text: str) -> Json:
    """A cache to read: an image's name, or ``type=...,...``. Raises Failure."""
    return _parsed(text, "--cache-from", _FROM)


def cache_to(text: str) -> Json:
    """A cache to write. Raises Failure."""
    return _parsed(text, "--cache-to", _TO)


def _parsed(text: str, flag: str, known: dict[str, tuple[str, ...]]) -> Json:
    fields = _fields(text, flag)
    kind = fields.pop("type", "registry")
    if kind not in known:
        raise Failure(f"{flag} {text}: type {kind} is not supported: use {', '.join(known)}", 125)
    for name, value in fields.items():
        if name in _FIXED and flag == "--cache-to" and value == _FIXED[name]:
            continue
        if name not in known[kind]:
            raise Failure(f"{flag} {text}: {name}={value} is not supported with type {kind}", 125)
    path = fields.get("src") or fields.get("dest") or ""
    needed = "ref" if kind == "registry" else {"--cache-from": "src", "--cache-to": "dest"}[flag]
    if kind != "inline" and not fields.get(needed):
        raise Failure(f"{flag} {text}: {needed} is missing", 125)
    wanted: Json = {
        "Type": kind,
        "Ref": fields.get("ref") or fields.get("digest") or fields.get("tag") or "",
        "Path": os.path.abspath(path) if path else "",
        "Mode": fields.get("mode", "min"),
        "IgnoreError": fields.get("ignore-error", "false") == "true",
        "Mounts": fields.get("mounts", "false") == "true",
    }
    return {name: value for name, value in wanted.items() if value}


def _fields(text: str, flag: str) -> dict[str, str]:
    try:
        words = split_fields(text)
    except ValueError as error:
        raise Failure(f'invalid argument "{text}" for "{flag}": {error}', 125) from None
    if all("=" not in word for word in words) and len(words) == 1:
        return {"type": "registry", "ref": text}
    if any("=" not in word for word in words):
        raise Failure(f"{flag} {text}: expected name=value pairs", 125)
    return dict(_pair(word) for word in words)


def _pair(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name.strip().lower(), value
