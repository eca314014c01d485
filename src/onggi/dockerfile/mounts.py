"""The options of ``RUN --mount``."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

from onggi import quantities
from onggi.booleans import BOOLEANS
from onggi.dockerfile.failure import hint
from onggi.dockerfile.instructions import Mount
from onggi.errors import InvalidArgument

_KINDS = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
# Option -> field of Mount.
_TEXTS = {
    "from": "origin",
    "source": "source",
    "src": "source",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "id": "identity",
    "env": "env",
}
_NUMBERS = {"mode": 8, "uid": 10, "gid": 10}
_OPTIONS = (
    *_TEXTS, *_NUMBERS, "type", "readonly", "ro", "readwrite", "rw", "required", "size", "sharing",
)  # fmt: skip


def check(text: str) -> None:
    """Refuse what no variable can mend: a ``from`` with a variable in it."""
    for field in _fields(text):
        key, equals, value = field.partition("=")
        if equals and key.lower() == "from" and "$" in value[:-1]:
            raise InvalidArgument("'from' doesn't support variable expansion, define alias stage instead")


def parse(text: str, expand: Callable[[str], str] = str) -> Mount:
    """The mount that an option describes; ``expand`` replaces the variables of one value."""
    options: dict[str, Any] = {}
    for field in _fields(text):
        name, equals, value = field.partition("=")
        key = name.lower()
        if not equals and key not in ("readonly", "ro", "readwrite", "rw", "required"):
            raise InvalidArgument(f"invalid field '{field}' must be a key=value pair")
        _take(options, key, expand(value) if equals else "true", field)
    kind = options.get("kind", "bind")
    options.setdefault("read_only", kind not in ("cache", "tmpfs"))
    mount = Mount(**options)
    _agree(mount)
    return mount


def _fields(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise InvalidArgument(f"failed to parse csv mounts: {error}") from None
    return rows[0] if rows else []


def _take(options: dict[str, Any], key: str, value: str, field: str) -> None:
    """Add one option; what a kind of mount allows depends on the ``type`` in front, as in docker."""
    kind = options.get("kind", "bind")
    match key:
        case "type":
            options["kind"] = _one_of(value, _KINDS, "mount type")
        case "sharing":
            options["sharing"] = _one_of(value, _SHARING, "sharing value")
        case "readonly" | "ro":
            options["read_only"] = _truth(key, value)
        case "readwrite" | "rw":
            options["read_only"] = not _truth(key, value)
        case "required" if kind in ("secret", "ssh"):
            options["required"] = _truth(key, value)
        case "size" if kind == "tmpfs":
            options["size"] = quantities.size(value)
        case "required" | "size":
            raise InvalidArgument(f"unexpected key '{key}' for mount type '{kind}'")
        case "mode" | "uid" | "gid":
            options[key] = _number(key, value)
        case _ if key in _TEXTS:
            options[_TEXTS[key]] = value
        case _:
            raise InvalidArgument(f"unexpected key '{key}' in '{field}'{hint(key, _OPTIONS)}")


def _one_of(value: str, known: tuple[str, ...], what: str) -> str:
    if value.lower() not in known:
        raise InvalidArgument(f'unsupported {what} "{value}"{hint(value, known)}')
    return value.lower()


def _truth(key: str, value: str) -> bool:
    if value not in BOOLEANS:
        raise InvalidArgument(f"invalid value for {key}: {value}")
    return BOOLEANS[value]


def _number(key: str, value: str) -> int:
    base = _NUMBERS[key]
    digits = "0123456789"[:base]
    number = int(value, base) if value and len(value) <= 12 and not value.strip(digits) else -1
    if not 0 <= number < 1 << 32:
        raise InvalidArgument(f"invalid value {value} for {key}")
    return number


def _agree(mount: Mount) -> None:
    """Refuse options that do not go together."""
    for key in _NUMBERS:
        if getattr(mount, key) is not None and mount.kind not in ("secret", "ssh", "cache"):
            raise InvalidArgument(f'{key} not allowed for "{mount.kind}" type mounts')
    if mount.kind == "secret":
        _agree_secret(mount)
    if mount.sharing and mount.kind != "cache":
        raise InvalidArgument(f"invalid cache sharing set for {mount.kind} mount")


def _agree_secret(mount: Mount) -> None:
    if mount.origin:
        raise InvalidArgument("secret mount should not have a from")
    if mount.sharing:
        raise InvalidArgument("secret mount should not define sharing")
    if not (mount.source or mount.target or mount.identity):
        raise InvalidArgument("invalid secret mount. one of source, target required")
    if mount.source and mount.identity:
        raise InvalidArgument("both source and id can't be set")
