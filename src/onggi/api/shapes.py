"""What older clients send and expect: requests and answers between API 1.24 and the newest."""

from __future__ import annotations

from typing import Any

Json = Any
Version = tuple[int, int]


def shape_create(body: Json, version: Version) -> Json:
    """Drop fields that a client of this version cannot mean, and give it the defaults of its time."""
    if not isinstance(body, dict):
        return body
    if "Runtime" in body:  # docker-py writes it here
        body.setdefault("HostConfig", {}).setdefault("Runtime", body["Runtime"])
    if not isinstance(host := body.get("HostConfig"), dict):
        return body
    if version < (1, 25):
        host.pop("AutoRemove", None)
    if version < (1, 40):
        host["IpcMode"] = host.get("IpcMode") or "shareable"
    if version < (1, 41):
        host["CgroupnsMode"] = host.get("CgroupnsMode") or "host"
    if version < (1, 42):
        host.pop("ConsoleSize", None)
    for mount in host.get("Mounts") or ():
        _shape_mount(mount, version)
    if version < (1, 44) and isinstance(check := body.get("Healthcheck"), dict):
        check.pop("StartInterval", None)
    return body


_MOUNT_OPTIONS = (
    ((1, 40), "BindOptions", "NonRecursive"),
    ((1, 42), "BindOptions", "CreateMountpoint"),
    ((1, 44), "BindOptions", "ReadOnlyNonRecursive"),
    ((1, 44), "BindOptions", "ReadOnlyForceRecursive"),
    ((1, 45), "VolumeOptions", "Subpath"),
)


def _shape_mount(mount: Json, version: Version) -> None:
    for since, kind, name in _MOUNT_OPTIONS:
        options = mount.get(kind) if isinstance(mount, dict) else None
        if version < since and isinstance(options, dict):
            options.pop(name, None)


def shape_exec(body: Json, version: Version) -> Json:
    """As ``shape_create``, for exec."""
    if isinstance(body, dict):
        if version < (1, 25):
            body.pop("Env", None)
        if version < (1, 42):
            body.pop("ConsoleSize", None)
    return body


def shape_update(body: Json, version: Version) -> Json:
    """As ``shape_create``, for update."""
    if isinstance(body, dict) and version < (1, 40):
        body.pop("PidsLimit", None)
    return body


def shape_image(image: Json, version: Version) -> Json:
    """VirtualSize left the API with 1.44."""
    if version < (1, 44):
        return image | {"VirtualSize": image.get("Size", 0)}
    return image


def shape_info(info: Json, version: Version) -> Json:
    """Before 1.25 security options were bare names."""
    if version < (1, 25):
        names = [_security_name(option) for option in info.get("SecurityOptions") or ()]
        return info | {"SecurityOptions": names}
    return info


def _security_name(option: str) -> str:
    fields = dict(field.partition("=")[::2] for field in option.split(","))
    return fields.get("name", option)


def shape_wait(result: Json, version: Version) -> Json:
    """The reason of a failed wait exists since 1.30; it is left out where there is none."""
    if version >= (1, 30) and result.get("Error"):
        return {"StatusCode": result["StatusCode"], "Error": result["Error"]}
    return {"StatusCode": result["StatusCode"]}
