"""``--mount`` and ``--volume`` values. Pure but for the working directory, where ``./x`` is."""

from __future__ import annotations

import os

from onggi.cli.specs import split_fields
from onggi.cli.values import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_BARE = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src")
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_OPTION_KINDS = {
    "BindOptions": "bind",
    "VolumeOptions": "volume",
    "ImageOptions": "image",
    "TmpfsOptions": "tmpfs",
}
_RECURSION = {
    "disabled": "NonRecursive",
    "writable": "ReadOnlyNonRecursive",
    "readonly": "ReadOnlyForceRecursive",
}


def parse_mount(text: str) -> Json:
    """Return docker's ``Mount`` of ``key=value`` fields. Raises ValueError in docker's words."""
    mount: dict[str, Json] = {"Type": "volume"}
    for field in split_fields(text):
        key, value = _field(field)
        _apply(mount, key, value, field)
    _check(mount)
    if "VolumeOptions" in mount:
        mount["VolumeOptions"].setdefault("DriverConfig", {})
    return {key: value for key, value in mount.items() if value != "" and value is not False}


def _field(field: str) -> tuple[str, str | None]:
    key, equals, value = field.partition("=")
    if key != key.strip():
        raise ValueError(f"invalid option '{key.strip()}' in '{field}': option should not have whitespace")
    if equals and not value.strip():
        raise ValueError(f"invalid value for '{key}': value is empty")
    if value != value.strip():
        raise ValueError(f"invalid value for '{key}' in '{field}': value should not have whitespace")
    if not equals and key.lower() not in _BARE:
        raise ValueError(f"invalid field '{field}' must be a key=value pair")
    return key.lower(), value if equals else None


def _apply(mount: dict[str, Json], key: str, value: str | None, field: str) -> None:
    """Write one option into ``mount``."""
    text = value or ""
    if key == "type":
        mount["Type"] = text.lower()
    elif key in ("source", "src"):
        mount["Source"] = resolve_dotted(text)
    elif key in ("target", "dst", "destination"):
        mount["Target"] = text
    elif key in ("readonly", "ro"):
        mount["ReadOnly"] = _boolean(key, value)
    elif key == "consistency":
        mount["Consistency"] = text.lower()
    elif key.startswith("bind-"):
        _bind(_options(mount, "BindOptions"), key, value)
    elif key.startswith("volume-"):
        _volume(_options(mount, "VolumeOptions"), key, value, field)
    elif key == "image-subpath":
        _options(mount, "ImageOptions")["Subpath"] = text
    elif key in ("tmpfs-size", "tmpfs-mode"):
        _tmpfs(_options(mount, "TmpfsOptions"), key, text)
    else:
        raise ValueError(f"unknown option '{key}' in '{field}'")


def _options(mount: dict[str, Json], name: str) -> dict[str, Json]:
    options: dict[str, Json] = mount.setdefault(name, {})
    return options


def resolve_dotted(path: str) -> str:
    """Return a path that begins with ``.`` as an absolute one; others as they are."""
    return os.path.abspath(path) if path.startswith(".") else path


def _boolean(key: str, value: str | None) -> bool:
    if value is not None and value not in _BOOLEANS:
        wrong = (
            f'invalid boolean value ("{value}"): must be one of "true", "1", "false", or "0" (default "true")'
        )
        raise ValueError(f"invalid value for '{key}': {wrong}")
    return value is None or _BOOLEANS[value]


def _bind(options: dict[str, Json], key: str, value: str | None) -> None:
    if key == "bind-propagation":
        options["Propagation"] = (value or "").lower()
    elif key == "bind-recursive" and value in _RECURSION:
        options[_RECURSION[value]] = True
    elif key == "bind-recursive" and value != "enabled":
        choice = '(must be "enabled", "disabled", "writable", or "readonly")'
        raise ValueError(f"invalid value for {key}: {value} {choice}")
    elif key == "bind-nonrecursive":
        if _boolean(key, value):
            options["NonRecursive"] = True
    elif key == "bind-create-src":
        if _boolean(key, value):
            options["CreateMountpoint"] = True
    elif key != "bind-recursive":
        raise ValueError(f"unexpected key '{key}' in '{key}={value}'")


def _volume(options: dict[str, Json], key: str, value: str | None, field: str) -> None:
    text = value or ""
    if key == "volume-subpath":
        options["Subpath"] = text
    elif key == "volume-nocopy":
        if _boolean(key, value):
            options["NoCopy"] = True
    elif key == "volume-label":
        _add_pair(options.setdefault("Labels", {}), text)
    elif key == "volume-driver":
        options.setdefault("DriverConfig", {})["Name"] = text
    elif key == "volume-opt":
        _add_pair(options.setdefault("DriverConfig", {}).setdefault("Options", {}), text)
    else:
        raise ValueError(f"unknown option '{key}' in '{field}'")


def _add_pair(pairs: dict[str, str], text: str) -> None:
    name, _, value = text.partition("=")
    if name:
        pairs[name] = value


def _tmpfs(options: dict[str, Json], key: str, text: str) -> None:
    try:
        if key == "tmpfs-size":
            options["SizeBytes"] = parse_bytes(text)
        else:
            options["Mode"] = int(text, 8)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {text}") from None


def _check(mount: dict[str, Json]) -> None:
    for name, kind in _OPTION_KINDS.items():
        if name in mount and mount["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount['Type']}'")
    if not mount.get("Target"):
        raise ValueError("target is required")
    bind = mount.get("BindOptions", {})
    for word, name in (("writable", "ReadOnlyNonRecursive"), ("readonly", "ReadOnlyForceRecursive")):
        if bind.get(name) and not mount.get("ReadOnly"):
            raise ValueError(
                f"option 'bind-recursive={word}' requires 'readonly' to be specified in conjunction"
            )
    if bind.get("ReadOnlyForceRecursive") and bind.get("Propagation") != "rprivate":
        needs = "requires 'bind-propagation=rprivate' to be specified in conjunction"
        raise ValueError(f"option 'bind-recursive=readonly' {needs}")


def parse_volumes(specs: list[str]) -> tuple[dict[str, Json], list[str] | None]:
    """Split ``-v`` values into ``Volumes``, the anonymous ones, and ``Binds`` or None. Raises ValueError."""
    anonymous: dict[str, Json] = {}
    binds: list[str] = []
    for spec in dict.fromkeys(specs):
        source = _volume_source(spec)
        if not source:
            anonymous[spec] = {}
        elif source[0] == ".":
            binds.append(resolve_dotted(source) + spec[len(source) :])
        else:
            binds.append(spec)
    return anonymous, binds or None


def _volume_source(spec: str) -> str:
    """Return the part before the first colon, "" for an anonymous volume."""
    if not spec:
        raise ValueError("invalid empty volume spec")
    if len(spec) <= 2:
        return ""
    parts = spec.split(":")
    if not all(parts):
        raise ValueError(f"invalid spec: {spec}: empty section between colons")
    if len(parts) > 3:
        raise ValueError(f"invalid spec: {spec}: too many colons")
    return parts[0] if len(parts) > 1 else ""
