"""A bundle on disk: its config.json, checked and completed with what a runtime adds, and its plan."""

from __future__ import annotations

import json
import os
from typing import Any

from onggi.errors import InvalidArgument, KernelError
from onggi.kernel import cgroup_mounts, features
from onggi.kernel.cgroups import Group, Hierarchies
from onggi.kernel.files import read_small
from onggi.kernel.paths import names_of
from onggi.runtime import compile as compiler
from onggi.runtime.plan import Plan, Root

Json = Any
VERSION = "1.2.0"
OWN_PARENT = "/onggi-runtime/"  # of control groups that a bundle names relatively, or not at all
_MAX_CONFIG = 64 << 20
# config-linux.md#default-devices: what every container may use even where its devices are denied by default.
_DEFAULT_DEVICES: tuple[tuple[str, int, int | None], ...] = (
    ("c", 1, 3), ("c", 1, 5), ("c", 1, 7), ("c", 1, 8), ("c", 1, 9),
    ("c", 5, 0), ("c", 5, 1), ("c", 5, 2), ("c", 136, None),
)  # fmt: skip


def load(directory: str, name: str = "config.json") -> Json:
    """The configuration of a bundle; raises InvalidArgument naming the file or the field."""
    path = os.path.join(directory, name or "config.json")
    try:
        config = json.loads(read_small(path, _MAX_CONFIG))
    except OSError as error:
        raise InvalidArgument(f"cannot load bundle {path}: {os.strerror(error.errno or 0)}") from None
    except ValueError as error:
        raise InvalidArgument(f"cannot parse {path}: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("ociVersion"), str):
        raise InvalidArgument(f"{path}: ociVersion is missing")
    if not config["ociVersion"].startswith("1."):
        raise InvalidArgument(f"{path}: unsupported ociVersion {config['ociVersion']!r}")
    return config


def rootfs(config: Json, directory: str) -> str:
    """The absolute path of a bundle's root file system; raises InvalidArgument if it is no directory."""
    path = (config.get("root") or {}).get("path") or ""
    if not path:
        raise InvalidArgument("config.json: root.path is missing")
    full = os.path.realpath(os.path.join(directory, path))
    if not os.path.isdir(full):
        raise InvalidArgument(f"invalid rootfs: stat {full}: no such directory")
    return full


def hierarchies(manager: str) -> Hierarchies:
    """The machine's cgroup hierarchies, or none where groups are not managed."""
    return Hierarchies(()) if manager == "disabled" else cgroup_mounts.detect()


def cgroup_path(config: Json, container_id: str) -> str:
    """Where a container's group lies in every hierarchy; a relative path lies below a group of our own."""
    path = (config.get("linux") or {}).get("cgroupsPath") or container_id
    names = names_of(path)
    if ".." in names or not names:
        raise InvalidArgument(f"linux.cgroupsPath: invalid path {path!r}")
    return ("/" if path.startswith("/") else OWN_PARENT) + "/".join(names)


def resources(config: Json) -> Json:
    """``linux.resources`` with the rules for default devices, which callers leave to the runtime."""
    linux = config.get("linux") or {}
    asked = dict(linux.get("resources") or {})
    if asked.get("devices"):
        numbers = [(d.get("type"), d.get("major"), d.get("minor")) for d in linux.get("devices") or ()]
        allowed = [*_DEFAULT_DEVICES, *((("c" if kind == "u" else kind), a, b) for kind, a, b in numbers)]
        rules = [_rule(kind, major, minor, "rwm") for kind, major, minor in allowed if kind in ("b", "c")]
        nodes = [_rule(kind, None, None, "m") for kind in ("b", "c")]
        asked["devices"] = [*asked["devices"], *nodes, *rules]
    return asked


def _rule(kind: str, major: int | None, minor: int | None, access: str) -> Json:
    numbers = {key: value for key, value in (("major", major), ("minor", minor)) if value is not None}
    return {"allow": True, "type": kind, "access": access, **numbers}


def compile_bundle(config: Json, directory: str, group: Group | None) -> Plan:
    """The plan of a bundle on this machine; pure apart from asking what the machine has."""
    found = features.probe()
    path = rootfs(config, directory)
    root = Root(path, path, (), found.overlay_append)
    mounted = group.hierarchies if group else cgroup_mounts.detect()
    environment = compiler.Environment(found, root, mounted.places(group.path if group else ""))
    plan = compiler.compile_plan(config, environment)
    return plan._replace(cgroup=group.path if group else "", resources=resources(config))


def seccomp_of(config: Json) -> tuple[str, int]:
    """The filter of a container, for the processes of exec: the same one as its first process has."""
    environment = compiler.Environment(features.probe(), Root("", "", ()))
    return compiler.seccomp_of(config.get("linux") or {}, environment)


def read_json(path: str) -> Json:
    """A JSON document from a file, or from standard input for ``-``."""
    try:
        text = read_small("/dev/stdin" if path == "-" else path)
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"cannot parse {path}: {error}") from None
