"""docker's configuration -> OCI runtime config.json. Pure.

``process`` makes the process part for run and for exec alike, so that capabilities, groups and no_new_privs
cannot differ by the second entry (rules R15, R16). Specs: runtime-spec config.md and config-linux.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from onggi.containers import spec_mounts, spec_resources, spec_security
from onggi.containers.host import Host
from onggi.containers.merge import command_line
from onggi.containers.mount_points import MountPoint
from onggi.containers.request import ContainerConfig, HostConfig, joined
from onggi.containers.spec_resources import DeviceLookup, DeviceNode
from onggi.containers.users import Identity
from onggi.oci.image import DEFAULT_PATH
from onggi.volumes.options import Source

Json = Any
OCI_VERSION = "1.2.0"


class Command(NamedTuple):
    """What one process is to be: the container's first one or an exec'd one."""

    argv: list[str]
    env: list[str]
    cwd: str
    identity: Identity
    tty: bool
    privileged: bool


class Joined(msgspec.Struct, frozen=True):
    """Pids of other containers whose namespaces are joined; 0 where none is."""

    network: int = 0
    ipc: int = 0
    pid: int = 0


class SpecInput(msgspec.Struct, frozen=True):
    """All that the config of one run depends on.

    ``sources`` says by destination what is mounted there where that is not the mount point's own source.
    ``files`` maps destinations (``/etc/hosts`` …) to generated files on the host; ``devices`` looks at
    nodes of the host.
    """

    id: str
    config: ContainerConfig
    host_config: HostConfig
    mounts: list[MountPoint]
    identity: Identity
    host: Host
    files: dict[str, str]
    devices: DeviceLookup
    joined: Joined = Joined()
    sources: dict[str, Source] = {}


def environment(config: ContainerConfig) -> list[str]:
    """docker's PATH, HOSTNAME and TERM, then the configuration's; a name without ``=`` is removed."""
    variables = dict.fromkeys([DEFAULT_PATH, f"HOSTNAME={config.hostname}"])
    base = [*variables, *(["TERM=xterm"] if config.tty else [])]
    return merge_env(base, config.env)


def merge_env(base: list[str], extra: list[str]) -> list[str]:
    """``base`` with the entries of ``extra`` in their place or behind."""
    merged = {entry.partition("=")[0]: entry for entry in base}
    for entry in extra:
        name, equals, _ = entry.partition("=")
        if equals:
            merged[name] = entry
        else:
            merged.pop(name, None)
    return list(merged.values())


def _with_home(env: list[str], home: str) -> list[str]:
    return env if any(entry.startswith("HOME=") for entry in env) else [*env, f"HOME={home}"]


def process(
    command: Command, host_config: HostConfig, host: Host, size: tuple[int, int] | None = None
) -> Json:
    """The OCI ``process`` of a run or of an exec; ``size`` is (rows, columns)."""
    allowed = list(host.capabilities) if command.privileged else allowed_capabilities(host_config, host)
    identity = command.identity
    result: Json = {
        "terminal": command.tty,
        "user": {"uid": identity.uid, "gid": identity.gid, "additionalGids": list(identity.groups)},
        "args": command.argv,
        "env": _with_home(command.env, identity.home),
        "cwd": command.cwd or "/",
        "capabilities": spec_security.capability_sets(allowed, identity.uid),
        "rlimits": spec_resources.rlimits(host_config.ulimits, host.default_ulimits),
        "noNewPrivileges": spec_security.parse_security_options(host_config.security_opt).no_new_privileges,
        "oomScoreAdj": host_config.oom_score_adj,
    }
    if size and size != (0, 0):
        result["consoleSize"] = {"height": size[0], "width": size[1]}
    return result


def allowed_capabilities(host_config: HostConfig, host: Host) -> list[str]:
    """The capabilities of the container's first process, in order of their numbers."""
    return spec_security.capabilities(host_config, host.capabilities)


def first_process(source: SpecInput) -> Json:
    """The container's own command."""
    config, host_config = source.config, source.host_config
    command = Command(
        argv=command_line(config),
        env=environment(config),
        cwd=config.working_dir,
        identity=source.identity,
        tty=config.tty,
        privileged=host_config.privileged,
    )
    return process(command, host_config, source.host, host_config.console_size if config.tty else None)


def namespaces(source: SpecInput) -> list[Json]:
    """Own namespaces, and those joined by path; a mode ``host`` leaves the type out."""
    host_config, joined = source.host_config, source.joined
    kinds: list[Json] = [{"type": "mount"}]
    for kind, mode, pid in (
        ("network", host_config.network_mode, joined.network),
        ("ipc", host_config.ipc_mode, joined.ipc),
        ("pid", host_config.pid_mode, joined.pid),
    ):
        name = "net" if kind == "network" else kind
        if pid:
            kinds.append({"type": kind, "path": f"/proc/{pid}/ns/{name}"})
        elif mode != "host":
            kinds.append({"type": kind})
    if host_config.uts_mode != "host":
        kinds.append({"type": "uts"})
    if host_config.cgroupns_mode != "host":
        kinds.append({"type": "cgroup"})
    if source.host.time_namespace and not joined.pid and host_config.pid_mode != "host":
        kinds.append({"type": "time"})
    return kinds


def mounts(source: SpecInput) -> list[Json]:
    """All mounts, parents first."""
    host_config = source.host_config
    options = spec_security.parse_security_options(host_config.security_opt)
    base = spec_mounts.default_mounts(host_config, writable_cgroups=options.writable_cgroups)
    shm = spec_mounts.shm_mount(host_config, source.joined.ipc)
    base += [shm] if shm else []
    base += spec_mounts.file_mounts(source.files, host_config.readonly_rootfs)
    return spec_mounts.in_order(base + spec_mounts.point_mounts(source.mounts, source.sources))


def _device(node: DeviceNode) -> Json:
    return {
        "path": node.path,
        "type": node.kind,
        "major": node.major,
        "minor": node.minor,
        "fileMode": node.mode,
        "uid": node.uid,
        "gid": node.gid,
    }


def _linux(source: SpecInput) -> Json:
    host_config = source.host_config
    nodes = spec_resources.device_nodes(host_config.devices, source.devices)
    if host_config.privileged:
        nodes += [(node, "rwm") for node in source.devices("/dev")]
    limits = spec_resources.resources(host_config, source.devices)
    limits["devices"] = spec_resources.device_rules(host_config, nodes)
    return {
        "namespaces": namespaces(source),
        "cgroupsPath": cgroups_path(source.id, host_config, source.host),
        "resources": limits,
        "devices": [_device(node) for node, _ in nodes],
        "sysctl": _sysctls(source),
        "maskedPaths": spec_security.masked_paths(host_config, source.host.thermal),
        "readonlyPaths": host_config.readonly_paths or [],
        "rootfsPropagation": _root_propagation(source.mounts),
    }


def _sysctls(source: SpecInput) -> dict[str, str]:
    asked = source.host_config.sysctls or {}
    mode = source.host_config.network_mode
    own_network = mode != "host" and not joined(mode)
    return {**source.host.network_sysctls, **asked} if own_network else asked


def _root_propagation(points: list[MountPoint]) -> str:
    """The container's root must let through what a shared or slave bind is to pass on."""
    asked = {point.propagation.removeprefix("r") for point in points}
    return "rshared" if "shared" in asked else "rslave" if "slave" in asked else "rprivate"


def cgroups_path(container_id: str, host_config: HostConfig, host: Host) -> str:
    """The container's group in every hierarchy; a relative --cgroup-parent lies below the engine's."""
    parent = host_config.cgroup_parent
    if not parent:
        return f"{host.cgroup_parent}/c/{container_id}"
    return f"{parent if parent.startswith('/') else host.cgroup_parent + '/' + parent}/{container_id}"


def _annotations(source: SpecInput) -> dict[str, str]:
    """The client's annotations without our reserved prefix, and what the runtime provides itself."""
    given = source.host_config.annotations or {}
    annotations = {key: value for key, value in given.items() if not key.startswith("org.onggi.")}
    if source.host_config.init:
        annotations["org.onggi.init"] = "true"
    return annotations


def build_config(source: SpecInput) -> Json:
    """The OCI config.json of one run."""
    host_config = source.host_config
    config: Json = {
        "ociVersion": OCI_VERSION,
        "process": first_process(source),
        "root": {"path": "rootfs", "readonly": host_config.readonly_rootfs},
        "mounts": mounts(source),
        "annotations": _annotations(source),
        "linux": _linux(source),
    }
    if host_config.uts_mode != "host":
        config["hostname"] = source.config.hostname
        config["domainname"] = source.config.domainname
    return config
