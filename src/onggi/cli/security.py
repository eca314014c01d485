"""``--security-opt`` and ``--device`` values. Reads seccomp profiles that are named by file."""

from __future__ import annotations

import os

from onggi.client.codec import decode, encode
from onggi.client.errors import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json


def parse_security(texts: list[str]) -> tuple[list[str] | None, list[str] | None, list[str] | None]:
    """Return ``SecurityOpt``, ``MaskedPaths`` and ``ReadonlyPaths``; a profile file is sent by its content.

    Raises ValueError in docker's words.
    """
    sent = [_security(text) for text in texts if text != "systempaths=unconfined"]
    if not texts:
        return None, None, None
    if len(sent) < len(texts):
        return sent, [], []
    return sent, None, None


def _security(text: str) -> str:
    name, separator, value = text.partition("=")
    if not separator and name != "no-new-privileges":
        name, separator, value = text.partition(":")
    if (not separator or not value) and name != "no-new-privileges":
        raise ValueError(f'Invalid --security-opt: "{text}"')
    if name == "seccomp" and value not in ("builtin", "unconfined"):
        return "seccomp=" + _profile(value)
    return text


def _profile(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        words = f"open {path}: {reason(error)}"
        raise ValueError(f"opening seccomp profile ({path}) failed: {words}") from None
    try:
        return encode(decode(data)).decode()
    except ValueError as error:
        raise ValueError(f"compacting json for seccomp profile ({path}) failed: {error}") from None


def parse_devices(texts: list[str]) -> tuple[list[Json], list[Json]]:
    """Return ``Devices``, and the ``DeviceRequests`` of CDI's names (``vendor.com/class=name``)."""
    named = [text for text in texts if _is_qualified(text)]
    devices = [_device(text) for text in texts if not _is_qualified(text)]
    if not named:
        return devices, []
    request = {"Driver": "cdi", "Count": 0, "DeviceIDs": named, "Capabilities": None, "Options": None}
    return devices, [request]


def capabilities(texts: list[str]) -> list[str] | None:
    """Return names of capabilities as the API takes them: ``CAP_`` in front, sorted, once each."""
    names = {text.strip().upper().removeprefix("CAP_") for text in texts}
    return sorted(name if name == "ALL" else f"CAP_{name}" for name in names) or None


def _is_qualified(text: str) -> bool:
    kind, equals, name = text.partition("=")
    vendor, slash, group = kind.partition("/")
    return (
        bool(equals and slash and name and vendor and group) and not text.startswith("/") and "/" not in group
    )


def _device(text: str) -> Json:
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise ValueError(f"bad format for path: {text}")
    inside, access = parts[0], "rwm"
    if len(parts) == 3:
        inside, access = parts[1] or parts[0], parts[2]
        if not _is_access(access):
            raise ValueError(f"bad mode specified: {access}")
    elif len(parts) == 2 and _is_access(parts[1]):
        access = parts[1]
    elif len(parts) == 2:
        inside = parts[1]
    if not inside.startswith("/"):
        raise ValueError(f"{inside} is not an absolute path")
    source = os.path.normpath(parts[0]) if inside == parts[0] else parts[0]
    inside = source if inside == parts[0] else inside if len(parts) == 3 else os.path.normpath(inside)
    return {"PathOnHost": source, "PathInContainer": inside, "CgroupPermissions": access}


def _is_access(text: str) -> bool:
    return bool(text) and not text.strip("rwm") and len(set(text)) == len(text)
