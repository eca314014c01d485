"""What older clients are answered: fields that came later are left out, those that left are still there."""

from __future__ import annotations

from typing import Any

Json = Any
Version = tuple[int, int]

_NO_TEXTS = ("Hostname", "Domainname", "Image")
_NO_FLAGS = ("AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce")
# What an image's configuration said of containers until 1.50, although no image has it.
_OF_CONTAINERS: Json = dict.fromkeys(_NO_TEXTS, "") | dict.fromkeys(_NO_FLAGS, False)
_EMPTY_CONFIG: Json = {
    **_OF_CONTAINERS,
    **dict.fromkeys(("Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes")),
    **dict.fromkeys(("User", "WorkingDir"), ""),
}
# (first version without, fields), (first version with, fields)
_INFO_UNTIL: tuple[tuple[Version, Json], ...] = (
    ((1, 42), {"KernelMemory": False}),
    ((1, 50), {"BridgeNfIptables": False, "BridgeNfIp6tables": False}),
)
_INFO_SINCE = (((1, 49), "FirewallBackend"),)
_REGISTRY_UNTIL = {
    "AllowNondistributableArtifactsCIDRs": None,
    "AllowNondistributableArtifactsHostnames": None,
}


def shape_image(image: Json, version: Version) -> Json:
    """VirtualSize left the API with 1.44."""
    if version < (1, 44):
        return image | {"VirtualSize": image.get("Size", 0)}
    return image


def shape_image_detail(image: Json, version: Version) -> Json:
    """The container that an image was made of left with 1.45, its traces in the configuration with 1.50."""
    image = shape_image(image, version)
    if version < (1, 50):
        image = image | {"Config": _OF_CONTAINERS | image["Config"]}
    return image | {"ContainerConfig": _EMPTY_CONFIG} if version < (1, 45) else image


def shape_container(container: Json, version: Version) -> Json:
    """Until 1.45 the short id was listed among the aliases that were asked for."""
    if version >= (1, 45):
        return container
    networks = container["NetworkSettings"]["Networks"]
    aliased = {name: _with_id(name, endpoint, container["Id"]) for name, endpoint in networks.items()}
    return container | {"NetworkSettings": container["NetworkSettings"] | {"Networks": aliased}}


def shape_listed(container: Json, version: Version) -> Json:
    """A row of the list has the container's annotations since 1.46."""
    host = container["HostConfig"]
    if version >= (1, 46) or "Annotations" not in host:
        return container
    return container | {"HostConfig": {key: host[key] for key in host if key != "Annotations"}}


def _with_id(network: str, endpoint: Json, container_id: str) -> Json:
    if network in ("bridge", "host", "none"):
        return endpoint
    aliases = [*(endpoint.get("Aliases") or ()), container_id[:12]]
    return endpoint | {"Aliases": list(dict.fromkeys(aliases))}


def shape_info(info: Json, version: Version) -> Json:
    """Return what a client of this version knows of GET /info."""
    late = {name for since, name in _INFO_SINCE if version < since}
    shaped = {name: value for name, value in info.items() if name not in late}
    for until, fields in _INFO_UNTIL:
        if version < until:
            shaped |= fields
    if version < (1, 47):
        shaped["RegistryConfig"] = _REGISTRY_UNTIL | info.get("RegistryConfig", {})
    if version < (1, 49):
        for name in {"RuncCommit", "InitCommit"} & info.keys():
            shaped[name] = info[name] | {"Expected": info[name]["ID"]}
    if version < (1, 25):
        shaped["SecurityOptions"] = [_security_name(option) for option in info.get("SecurityOptions") or ()]
    return shaped


def _security_name(option: str) -> str:
    """Before 1.25 security options were bare names."""
    fields = dict(field.partition("=")[::2] for field in option.split(","))
    return fields.get("name", option)


def shape_usage(usage: Json, kinds: set[str], version: Version) -> Json:
    """GET /system/df: of other kinds than those asked for nothing is said."""
    images = [shape_image(image, version) for image in usage["Images"]]
    whole = usage | {"Images": images}
    nothing = {"LayersSize": 0}
    return {key: value if not kinds or key in kinds else nothing.get(key) for key, value in whole.items()}


def shape_wait(result: Json, version: Version) -> Json:
    """The reason of a failed wait exists since 1.30; it is left out where there is none."""
    if version >= (1, 30) and result.get("Error"):
        return {"StatusCode": result["StatusCode"], "Error": result["Error"]}
    return {"StatusCode": result["StatusCode"]}
