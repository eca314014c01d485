"""Limits of a container as OCI ``linux.resources`` (runtime-spec config-linux.md#control-groups).

Devices are looked at through a function that is passed in, because their numbers live in the file system; the
rest is pure, but for the words that refuse a device.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from onggi.containers.request import DeviceMapping, HostConfig, Resources, Ulimit
from onggi.errors import InvalidArgument

Json = Any
CPU_PERIOD_US = 100_000
_DEVICE_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
_RLIMITS = frozenset([
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
])  # fmt: skip


class DeviceNode(NamedTuple):
    """A device file of the host; ``kind`` is ``c`` or ``b``, ``mode`` its permission bits."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


# A device file, or all below a directory; empty if there is none.
DeviceLookup = Callable[[str], list[DeviceNode]]

# null, zero, full, random, urandom, tty; console and ptmx; pts. Everything else is denied before.
_DEFAULT_RULES: tuple[tuple[bool, str, int | None, int | None, str], ...] = (
    (False, "a", None, None, "rwm"),
    (True, "c", None, None, "m"),
    (True, "b", None, None, "m"),
    (True, "c", 1, 3, "rwm"),
    (True, "c", 1, 5, "rwm"),
    (True, "c", 1, 7, "rwm"),
    (True, "c", 1, 8, "rwm"),
    (True, "c", 1, 9, "rwm"),
    (True, "c", 5, 0, "rwm"),
    (True, "c", 5, 1, "rwm"),
    (True, "c", 5, 2, "rwm"),
    (True, "c", 136, None, "rwm"),
    (False, "c", 10, 229, "rwm"),
)


def _rule(allow: bool, kind: str, major: int | None, minor: int | None, access: str) -> Json:
    rule: Json = {"allow": allow, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule


def parse_device_rule(text: str) -> Json:
    """An OCI device rule from docker's ``c 13:* rwm``."""
    match = _DEVICE_RULE.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = match.groups()
    if any(number != "*" and int(number) >= 2**32 for number in (major, minor)):
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}'")
    first, second = (None if number == "*" else int(number) for number in (major, minor))
    return _rule(True, kind, first, second, access)


def device_nodes(mappings: Iterable[DeviceMapping], lookup: DeviceLookup) -> list[tuple[DeviceNode, str]]:
    """The nodes to make inside, with the access the cgroup allows.

    Raises InvalidArgument in docker's words.
    """
    found: list[tuple[DeviceNode, str]] = []
    for mapping in mappings:
        source = mapping.path_on_host
        target = mapping.path_in_container or source
        nodes = lookup(source)
        if not nodes:
            why = "not a device node" if os.path.exists(source) else "no such file or directory"
            raise InvalidArgument(
                f'error gathering device information while adding custom device "{source}": {why}'
            )
        if re.fullmatch("[rwm]{1,3}", mapping.cgroup_permissions or "rwm") is None:
            raise InvalidArgument(f"invalid device mode: {mapping.cgroup_permissions}")
        for node in nodes:
            inside = target + node.path.removeprefix(source)
            found.append((node._replace(path=inside), mapping.cgroup_permissions or "rwm"))
    return found


def device_rules(host: HostConfig, nodes: list[tuple[DeviceNode, str]]) -> list[Json]:
    """The cgroup's device list in order: later rules win."""
    if host.privileged:
        return [_rule(True, "a", None, None, "rwm")]
    rules = [_rule(*entry) for entry in _DEFAULT_RULES]
    rules += [_rule(True, node.kind, node.major, node.minor, access) for node, access in nodes]
    return rules + [parse_device_rule(text) for text in host.device_cgroup_rules or []]


def _drop_empty(values: Json) -> Json:
    return {key: value for key, value in values.items() if value not in (None, 0, "", [])}


def _memory(limits: Resources) -> Json:
    memory = _drop_empty(
        {"limit": limits.memory, "reservation": limits.memory_reservation, "swap": limits.memory_swap}
    )
    if limits.memory_swappiness is not None:
        memory["swappiness"] = limits.memory_swappiness
    if limits.oom_kill_disable:
        memory["disableOOMKiller"] = True
    return memory


def _cpu(limits: Resources) -> Json:
    cpu = {
        "shares": limits.cpu_shares,
        "period": limits.cpu_period,
        "quota": limits.cpu_quota,
        "cpus": limits.cpuset_cpus,
        "mems": limits.cpuset_mems,
        "realtimePeriod": limits.cpu_realtime_period,
        "realtimeRuntime": limits.cpu_realtime_runtime,
    }
    if limits.nano_cpus > 0:
        cpu["period"] = CPU_PERIOD_US
        cpu["quota"] = limits.nano_cpus * CPU_PERIOD_US // 1_000_000_000
    return _drop_empty(cpu)


def _block_device(path: str, lookup: DeviceLookup) -> DeviceNode:
    nodes = [node for node in lookup(path) if node.path == path]
    if not nodes:
        raise InvalidArgument(f"stat {path}: no such file or directory")
    if nodes[0].kind != "b":  # runc's words for what its write says
        raise InvalidArgument(f"error setting cgroup config for procHooks process: {path}: no such device")
    return nodes[0]


def _blkio(limits: Resources, lookup: DeviceLookup) -> Json:
    blkio: Json = {"weight": limits.blkio_weight, "weightDevice": []}
    for weighted in limits.blkio_weight_device:
        node = _block_device(weighted.path, lookup)
        blkio["weightDevice"].append({"major": node.major, "minor": node.minor, "weight": weighted.weight})
    for key, devices in limits.throttles.items():
        nodes = [(_block_device(device.path, lookup), device.rate) for device in devices]
        blkio[key] = [{"major": node.major, "minor": node.minor, "rate": rate} for node, rate in nodes]
    return _drop_empty(blkio)


def resources(limits: Resources, lookup: DeviceLookup) -> Json:
    """``linux.resources`` without devices.

    Empty parts are left out, so that an update changes what it names.
    """
    parts = {"memory": _memory(limits), "cpu": _cpu(limits)}
    if limits.pids_limit is not None:
        parts["pids"] = {"limit": limits.pids_limit if limits.pids_limit > 0 else -1}
    parts["blockIO"] = _blkio(limits, lookup)
    return {key: value for key, value in parts.items() if value}


def looks_at_devices(host: HostConfig) -> bool:
    """Whether the container's configuration depends on device files of the host."""
    named = (host.devices, host.blkio_weight_device, *host.throttles.values())
    return host.privileged or any(named)


def rlimits(ulimits: list[Ulimit], defaults: dict[str, tuple[int, int]]) -> list[Json]:
    """``process.rlimits``; -1 is unlimited. Raises InvalidArgument in docker's words."""
    merged = dict(defaults)
    for entry in ulimits:
        if entry.name.lower() not in _RLIMITS:
            raise InvalidArgument(f"invalid ulimit type: {entry.name}")
        soft, hard = (2**64 - 1 if value == -1 else value for value in (entry.soft, entry.hard))
        if soft < 0 or hard < 0 or soft > hard:
            raise InvalidArgument(
                f"ulimit soft limit must be less than or equal to hard limit: {entry.soft} > {entry.hard}"
            )
        merged[entry.name.lower()] = (soft, hard)
    return [
        {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
        for name, (soft, hard) in sorted(merged.items())
    ]
