"""What requests of older clients mean: later fields are dropped or refused, defaults are of their time.

Each version is the one in which docker's API began to do as the newest does (version-history.md of its
specification); tests/api/test_versions.py has dockerd's own answers for each.
"""

from __future__ import annotations

from typing import Any

from onggi.errors import InvalidArgument

Json = Any
Version = tuple[int, int]

_SYSCTLS = "com.docker.network.endpoint.sysctls"
_OLD_MAC = (
    "The container-wide MacAddress field is now deprecated. "
    "It should be specified in EndpointsConfig instead."
)
# Fields of HostConfig that earlier versions did not have.
_HOST_SINCE = (
    ((1, 25), "AutoRemove"),
    ((1, 40), "KernelMemoryTCP"),
    ((1, 42), "ConsoleSize"),
    ((1, 43), "Annotations"),
)
_MOUNT_SINCE = (((1, 40), "BindOptions", "NonRecursive"), ((1, 42), "BindOptions", "CreateMountpoint"))
_MOUNT_NEEDS = (
    ((1, 44), "BindOptions", "ReadOnlyForceRecursive"),
    ((1, 45), "VolumeOptions", "Subpath"),
)
_OPTIONS_OF = {"BindOptions": ("bind",), "VolumeOptions": ("volume", "cluster"), "TmpfsOptions": ("tmpfs",)}
_ENDPOINT_SINCE = (((1, 44), "MacAddress"), ((1, 48), "GwPriority"))


def shape_create(body: Json, version: Version) -> Json:
    """Return the body of a create as the newest version would have it. Raises InvalidArgument."""
    if not isinstance(body, dict):
        return body
    host = body["HostConfig"] = {} if body.get("HostConfig") is None else body["HostConfig"]
    if not isinstance(host, dict):
        return body
    if "Runtime" in body:  # docker-py writes it here
        host.setdefault("Runtime", body["Runtime"])
    _drop(host, _HOST_SINCE, version)
    if version < (1, 40):
        host["IpcMode"] = host.get("IpcMode") or "shareable"
    if version < (1, 41):
        host["CgroupnsMode"] = host.get("CgroupnsMode") or "host"
    if version >= (1, 42):
        host.pop("KernelMemory", None)
    if version < (1, 44) and isinstance(check := body.get("Healthcheck"), dict):
        check.pop("StartInterval", None)
    for mount in _dicts(host.get("Mounts")):
        _shape_mount(mount, version)
    _check_mac(body, host, version)
    _shape_endpoints(body, version)
    _shape_sysctls(body, host, version)
    return body


def create_warnings(body: Json, version: Version) -> list[str]:
    """Sentences about what still works and will not always."""
    return [_OLD_MAC] if version >= (1, 44) and isinstance(body, dict) and body.get("MacAddress") else []


def _drop(fields: Json, since: tuple[tuple[Version, str], ...], version: Version) -> None:
    for first, name in since:
        if version < first:
            fields.pop(name, None)


def _dicts(values: Json) -> list[Json]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _shape_mount(mount: Json, version: Version) -> None:
    for since, kind, name in _MOUNT_SINCE:
        if version < since and isinstance(options := mount.get(kind), dict):
            options.pop(name, None)
    for since, kind, name in _MOUNT_NEEDS:
        if version < since and isinstance(options := mount.get(kind), dict) and options.get(name):
            raise InvalidArgument(f"{kind}.{name} needs API v{since[0]}.{since[1]} or newer")
    if version < (1, 48) and mount.get("Type") == "image":
        raise InvalidArgument('Mount type "Image" needs API v1.48 or newer')
    for kind, types in _OPTIONS_OF.items():
        if version >= (1, 42) and mount.get(kind) is not None and mount.get("Type") not in types:
            raise InvalidArgument(f'{kind} must not be specified on mount type "{mount.get("Type", "")}"')


def _endpoints(body: Json) -> Json:
    networking = body.get("NetworkingConfig")
    found = networking.get("EndpointsConfig") if isinstance(networking, dict) else None
    return found if isinstance(found, dict) else {}


def _shape_endpoints(body: Json, version: Version) -> None:
    endpoints = _endpoints(body)
    if version < (1, 44) and len(endpoints) > 1:
        names = ", ".join(sorted(endpoints))
        raise InvalidArgument(f"Container cannot be created with multiple network endpoints: {names}")
    for endpoint in endpoints.values():
        if isinstance(endpoint, dict):
            _drop(endpoint, _ENDPOINT_SINCE, version)


def _has_no_interface(mode: str) -> bool:
    return mode in ("host", "none") or mode.startswith("container:")


def _check_mac(body: Json, host: Json, version: Version) -> None:
    """A container-wide MAC address without an interface: newer versions ignore it, as dockerd does."""
    mode = host.get("NetworkMode")
    if version < (1, 44) and body.get("MacAddress") and isinstance(mode, str) and _has_no_interface(mode):
        raise InvalidArgument("conflicting options: mac-address and the network mode")


def _shape_sysctls(body: Json, host: Json, version: Version) -> None:
    """Settings of one interface belong to its endpoint since 1.48; older clients mean the first one."""
    sysctls, mode = host.get("Sysctls"), host.get("NetworkMode") or "bridge"
    if not isinstance(sysctls, dict) or not isinstance(mode, str):
        return
    if _has_no_interface(mode):
        return
    for name in [name for name in sysctls if _names_interface(name)]:
        if version >= (1, 48):
            raise InvalidArgument(
                f'interface specific sysctl setting "{name}" must be supplied '
                f"using driver option '{_SYSCTLS}'"
            )
        parts = name.split(".", 4)
        setting = ".".join((*parts[:3], "IFNAME", *parts[4:])) + f"={sysctls.pop(name)}"
        options = _made(body, "NetworkingConfig", "EndpointsConfig", mode, "DriverOpts")
        options[_SYSCTLS] = ",".join(filter(None, (str(options.get(_SYSCTLS) or ""), setting)))


def _made(value: Json, *path: str) -> Json:
    """The object at a path, made where nothing is. Raises InvalidArgument where something else is."""
    for key in path:
        value[key] = value.get(key) or {}
        value = value[key]
        if not isinstance(value, dict):
            raise InvalidArgument(f"invalid JSON: expected an object, not {value!r:.40} - at {key}")
    return value


def _names_interface(sysctl: str) -> bool:
    parts = sysctl.split(".", 4)
    return len(parts) == 5 and parts[0] == "net" and parts[3] == "eth0"


def shape_exec(body: Json, version: Version) -> Json:
    """As ``shape_create``, for exec."""
    if isinstance(body, dict):
        _drop(body, (((1, 42), "ConsoleSize"),), version)  # "Env", of 1.25, dockerd takes of all
    return body


def shape_update(body: Json, version: Version) -> Json:
    """As ``shape_create``, for update."""
    if isinstance(body, dict):
        _drop(body, (((1, 40), "PidsLimit"),), version)
        if version >= (1, 42):
            body.pop("KernelMemory", None)
    return body
