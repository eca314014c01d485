"""From OCI ``linux.resources`` to the writes that realise them, for v1 and v2: pure data, no file is touched.

Source: runtime-spec config-linux.md "Control groups", the kernel's cgroup-v1 and cgroup-v2 documents; the
conversions between v1 and v2 units are those of runc. Warnings are docker's sentences.

May import: errors and ``cgroup_devices``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from onggi.errors import InvalidArgument, Unsupported
from onggi.kernel import cgroup_devices

Json = Any

_OR_NOT_MOUNTED = "or the cgroup is not mounted."
_OOM_DISABLE = "Your kernel does not support OomKillDisable. OomKillDisable discarded."
_DEFAULT_PERIOD_US = 100_000


class Write(NamedTuple):
    """Write ``value`` to ``file`` of the group in the hierarchy of ``controller``.

    ``lacking`` is the warning where controller or file is missing (empty: that is an error). ``otherwise`` is
    tried where the file is missing. ``twice``: EINVAL may only mean that a later write must come first.
    """

    controller: str
    file: str
    value: str
    lacking: str = ""
    otherwise: Write | None = None
    twice: bool = False


class Plan(NamedTuple):
    """Writes in order, device rules for the BPF program of v2, and warnings that need no file to be known."""

    writes: tuple[Write, ...]
    devices: tuple[cgroup_devices.Rule, ...]
    warnings: tuple[str, ...]


def plan(resources: Json, versions: Mapping[str, int]) -> Plan:
    """The plan for a machine whose controllers live in hierarchies of the given versions.

    Raises InvalidArgument for values that cannot be meant, Unsupported for what a version cannot do.
    """
    warnings: list[str] = []
    writes: list[Write] = []
    rules = cgroup_devices.parse(resources.get("devices") or [])
    for section, makers in _SECTIONS.items():
        if value := resources.get(section):
            writes += makers[versions.get(_CONTROLLER.get(section, section), 1) - 1](value)
    writes += _unified(resources.get("unified") or {}, versions)
    if "memory" in resources and versions.get("memory") == 2:
        warnings += _memory_warnings(resources["memory"] or {})
    if resources.get("rdma"):
        warnings.append("rdma limits are not supported. Limitation discarded.")
    if versions.get("devices", 1) == 1:
        writes += _devices_v1(rules)
        rules = ()
    return Plan(tuple(writes), rules, tuple(warnings))


def weight_from_shares(shares: int) -> int:
    """v2's ``cpu.weight`` (1..10000) for v1's ``cpu.shares`` (2..262144): 1024 becomes 100, the ends meet."""
    if shares <= 2:
        return 1
    if shares >= 262_144:
        return 10_000
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def weight_from_blkio(weight: int) -> int:
    """v2's ``io.weight`` (1..10000) for v1's ``blkio.weight`` (10..1000)."""
    return 1 + (weight - 10) * 9999 // 990


def available(versions: Mapping[str, int], has: Callable[[str, str], bool]) -> dict[str, bool]:
    """Docker's names of limits -> whether this machine has them; ``has(controller, file)`` looks."""
    v2 = {name for name, version in versions.items() if version == 2}

    def either(controller: str, old: str, new: str = "") -> bool:
        file = new if controller in v2 else old
        return controller in versions and bool(file) and has(controller, file)

    blkio_throttle = {
        f"Blkio{kind}{unit}Device": either("blkio", f"blkio.throttle.{low}_{unit.lower()}_device", "io.max")
        for kind, low in (("Read", "read"), ("Write", "write"))
        for unit in ("Bps", "IOps")
    }
    return {
        "MemoryLimit": either("memory", "memory.limit_in_bytes", "memory.max"),
        "SwapLimit": either("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
        "MemoryReservation": either("memory", "memory.soft_limit_in_bytes", "memory.low"),
        "MemorySwappiness": either("memory", "memory.swappiness"),
        "OomKillDisable": either("memory", "memory.oom_control"),
        "KernelMemoryTCP": either("memory", "memory.kmem.tcp.limit_in_bytes"),
        "CpuCfsPeriod": either("cpu", "cpu.cfs_period_us", "cpu.max"),
        "CpuCfsQuota": either("cpu", "cpu.cfs_quota_us", "cpu.max"),
        "CPURealtime": either("cpu", "cpu.rt_runtime_us"),
        "CPUShares": either("cpu", "cpu.shares", "cpu.weight"),
        "CPUSet": either("cpuset", "cpuset.cpus", "cpuset.cpus"),
        "PidsLimit": either("pids", "pids.max", "pids.max"),
        "BlkioWeight": either("blkio", "blkio.weight", "io.weight")
        or either("blkio", "blkio.bfq.weight", "io.bfq.weight"),
        "BlkioWeightDevice": either("blkio", "blkio.weight_device", "io.weight")
        or either("blkio", "blkio.bfq.weight_device", "io.bfq.weight"),
        **blkio_throttle,
        "Hugetlb": "hugetlb" in versions,
        "Devices": "devices" in versions,
        "Freezer": "freezer" in versions,
    }


def _kernel_lacks(what: str, discarded: str) -> str:
    return f"Your kernel does not support {what} {_OR_NOT_MOUNTED} {discarded} discarded."


_LACKS_LIMIT = _kernel_lacks("memory limit capabilities", "Limitation")
_LACKS_SWAP = (
    f"Your kernel does not support swap limit capabilities {_OR_NOT_MOUNTED} Memory limited without swap."
)
_LACKS_SOFT = _kernel_lacks("memory soft limit capabilities", "Limitation")
_LACKS_CFS = "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."
_LACKS_SHARES = _kernel_lacks("CPU shares", "Shares")
_SWAPPINESS = _kernel_lacks("memory swappiness capabilities", "Memory swappiness")
_LACKS_CPUSET = _kernel_lacks("cpuset", "Cpuset")
_LACKS_PIDS = _kernel_lacks("PIDs limit capabilities", "PIDs limit")
_LACKS_WEIGHT = _kernel_lacks("Block I/O weight", "Weight")
_LACKS_WEIGHT_DEVICE = _kernel_lacks("Block I/O weight_device", "Weight-device")
_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps",
     _kernel_lacks("BPS Block I/O read limit", "Block I/O BPS read limit")),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps",
     _kernel_lacks("BPS Block I/O write limit", "Block I/O BPS write limit")),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops",
     _kernel_lacks("IOPS Block read limit", "Block I/O IOPS read limit")),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops",
     _kernel_lacks("IOPS Block write limit", "Block I/O IOPS write limit")),
)  # fmt: skip


# docker's name of a limit (``available``) -> what is said where the machine lacks it.
LACKING = {
    "MemoryLimit": _LACKS_LIMIT,
    "SwapLimit": _LACKS_SWAP,
    "MemoryReservation": _LACKS_SOFT,
    "CPUShares": _LACKS_SHARES,
    "CpuCfsQuota": _LACKS_CFS,
    "CPUSet": _LACKS_CPUSET,
    "PidsLimit": _LACKS_PIDS,
    "BlkioWeight": _LACKS_WEIGHT,
    "BlkioWeightDevice": _LACKS_WEIGHT_DEVICE,
    "MemorySwappiness": _SWAPPINESS,
    "OomKillDisable": _OOM_DISABLE,
}


def _cpu_v1(cpu: Json) -> Iterator[Write]:
    if cpu.get("shares"):
        yield Write("cpu", "cpu.shares", str(cpu["shares"]), _LACKS_SHARES)
    yield from _idle(cpu)
    # A new period may not fit the old quota, nor a new quota the old period: whichever fails goes last.
    if cpu.get("period"):
        yield Write("cpu", "cpu.cfs_period_us", str(cpu["period"]), _LACKS_CFS, twice=True)
    if cpu.get("quota"):
        yield Write("cpu", "cpu.cfs_quota_us", str(cpu["quota"]), _LACKS_CFS, twice=True)
    if cpu.get("burst") is not None:
        yield Write("cpu", "cpu.cfs_burst_us", str(cpu["burst"]), twice=True)
    if cpu.get("realtimePeriod"):
        yield Write("cpu", "cpu.rt_period_us", str(cpu["realtimePeriod"]), twice=True)
    if cpu.get("realtimeRuntime"):
        yield Write("cpu", "cpu.rt_runtime_us", str(cpu["realtimeRuntime"]), twice=True)
    yield from _cpuset(cpu)


def _cpu_v2(cpu: Json) -> Iterator[Write]:
    if cpu.get("realtimePeriod") or cpu.get("realtimeRuntime"):
        raise Unsupported("realtime limits are not supported on cgroup v2")
    if cpu.get("shares"):
        yield Write("cpu", "cpu.weight", str(weight_from_shares(cpu["shares"])), _LACKS_SHARES)
    yield from _idle(cpu)
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    if quota or period:
        amount = quota if quota > 0 else "max"
        yield Write("cpu", "cpu.max", f"{amount} {period or _DEFAULT_PERIOD_US}", _LACKS_CFS)
    if cpu.get("burst") is not None:
        yield Write("cpu", "cpu.max.burst", str(cpu["burst"]))
    yield from _cpuset(cpu)


def _idle(cpu: Json) -> Iterator[Write]:
    if cpu.get("idle") is not None:
        yield Write("cpu", "cpu.idle", str(cpu["idle"]))


def _cpuset(cpu: Json) -> Iterator[Write]:
    for name in ("cpus", "mems"):
        if cpu.get(name):
            yield Write("cpuset", f"cpuset.{name}", cpu[name], _LACKS_CPUSET)


def _memory_v1(memory: Json) -> Iterator[Write]:
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit == -1 and not swap:
        swap = -1  # no limit at all, as docker's CLI means it
    # Raising, memory must follow memory+swap; lowering, precede it. The kernel says EINVAL, and we turn.
    if limit:
        yield Write("memory", "memory.limit_in_bytes", str(limit), _LACKS_LIMIT, twice=True)
    if swap:
        yield Write("memory", "memory.memsw.limit_in_bytes", str(swap), _LACKS_SWAP, twice=True)
    if memory.get("reservation"):
        yield Write("memory", "memory.soft_limit_in_bytes", str(memory["reservation"]), _LACKS_SOFT)
    if memory.get("kernelTCP"):
        yield Write("memory", "memory.kmem.tcp.limit_in_bytes", str(memory["kernelTCP"]))
    if memory.get("swappiness") is not None:
        yield Write("memory", "memory.swappiness", str(_percent(memory["swappiness"])), _SWAPPINESS)
    if memory.get("disableOOMKiller") is not None:
        lacking = _OOM_DISABLE if memory["disableOOMKiller"] else ""
        yield Write("memory", "memory.oom_control", str(int(memory["disableOOMKiller"])), lacking)
    if memory.get("useHierarchy"):
        yield Write("memory", "memory.use_hierarchy", "1")


def _memory_v2(memory: Json) -> Iterator[Write]:
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if memory.get("kernelTCP", 0) > 0:
        raise Unsupported("kernel TCP memory limits are not supported on cgroup v2")
    if swap or limit == -1:
        yield Write("memory", "memory.swap.max", _swap_only(limit, swap), _LACKS_SWAP)
    if limit:
        yield Write("memory", "memory.max", _or_max(limit), _LACKS_LIMIT)
    if memory.get("reservation"):
        yield Write("memory", "memory.low", _or_max(memory["reservation"]), _LACKS_SOFT)


def _memory_warnings(memory: Json) -> Iterator[str]:
    if memory.get("swappiness") is not None:
        yield _SWAPPINESS
    if memory.get("disableOOMKiller"):
        yield _OOM_DISABLE


def _swap_only(limit: int, swap: int) -> str:
    """v2 counts swap alone, OCI memory and swap together."""
    if swap == -1 or (limit == -1 and not swap):
        return "max"
    if limit <= 0:
        raise InvalidArgument("cannot set memory+swap limit without memory limit")
    if swap < limit:
        raise InvalidArgument("memory+swap limit should be >= memory limit")
    return str(swap - limit)


def _percent(value: int) -> int:
    if not 0 <= value <= 100:
        raise InvalidArgument(f"invalid memory swappiness value: {value} (valid range is 0-100)")
    return value


def _pids(pids: Json) -> Iterator[Write]:
    if limit := pids.get("limit"):
        yield Write("pids", "pids.max", _or_max(limit), _LACKS_PIDS)


def _blkio_v1(blkio: Json) -> Iterator[Write]:
    if weight := blkio.get("weight"):
        yield _first(("blkio.weight", "blkio.bfq.weight"), str(weight), _LACKS_WEIGHT)
    if leaf := blkio.get("leafWeight"):
        yield Write("blkio", "blkio.leaf_weight", str(leaf))
    for entry in blkio.get("weightDevice") or []:
        if entry.get("weight"):
            files = ("blkio.weight_device", "blkio.bfq.weight_device")
            yield _first(files, f"{_device(entry)} {entry['weight']}", _LACKS_WEIGHT_DEVICE)
        if entry.get("leafWeight"):
            yield Write("blkio", "blkio.leaf_weight_device", f"{_device(entry)} {entry['leafWeight']}")
    for key, file, _, lacking in _THROTTLES:
        for entry in blkio.get(key) or []:
            yield Write("blkio", file, f"{_device(entry)} {entry['rate']}", lacking)


def _blkio_v2(blkio: Json) -> Iterator[Write]:
    if blkio.get("leafWeight") or any(entry.get("leafWeight") for entry in blkio.get("weightDevice") or []):
        raise Unsupported("block I/O leaf weights are not supported on cgroup v2")
    if weight := blkio.get("weight"):
        plain = Write("blkio", "io.weight", f"default {weight_from_blkio(weight)}", _LACKS_WEIGHT)
        yield Write("blkio", "io.bfq.weight", str(weight), otherwise=plain)
    for entry in blkio.get("weightDevice") or []:
        if weight := entry.get("weight"):
            device = _device(entry)
            converted = f"{device} {weight_from_blkio(weight)}"
            plain = Write("blkio", "io.weight", converted, _LACKS_WEIGHT_DEVICE)
            yield Write("blkio", "io.bfq.weight", f"{device} {weight}", otherwise=plain)
    for key, _, word, lacking in _THROTTLES:
        for entry in blkio.get(key) or []:
            # Rate 0 lifts a limit on v1; v2 has a word for it.
            yield Write("blkio", "io.max", f"{_device(entry)} {word}={entry['rate'] or 'max'}", lacking)


def _hugetlb(form: str) -> Callable[[Json], Iterator[Write]]:
    def writes(limits: Json) -> Iterator[Write]:
        for entry in limits:
            size = _page_size(entry["pageSize"])
            yield Write("hugetlb", form.format(size), str(entry["limit"]))

    return writes


def _page_size(size: str) -> str:
    """Sizes are part of a file's name: nothing but a number and its unit passes."""
    if not (size[-2:] in ("KB", "MB", "GB") and size[:-2].isascii() and size[:-2].isdigit()):
        raise InvalidArgument(f"invalid huge page size: {size!r}")
    return size


def _network(network: Json) -> Iterator[Write]:
    if network.get("classID"):
        yield Write("net_cls", "net_cls.classid", str(network["classID"]))
    for entry in network.get("priorities") or []:
        yield Write("net_prio", "net_prio.ifpriomap", f"{entry['name']} {entry['priority']}")


def _unified(entries: Mapping[str, str], versions: Mapping[str, int]) -> Iterator[Write]:
    for file, value in entries.items():
        controller, dot, _ = file.partition(".")
        # What places, kills and delegates is ours to decide; the limits on nesting are not.
        ours = controller == "cgroup" and not file.startswith("cgroup.max.")
        if "/" in file or "\0" in file or not dot or ours:
            raise InvalidArgument(f"invalid unified resource: {file!r}")
        name = {"io": "blkio", "cgroup": "unified"}.get(controller, controller)
        if name != "unified" and versions.get(name) != 2:
            raise Unsupported(f"unified resource {file}: the controller is not in a cgroup v2 hierarchy")
        yield Write(name, file, value)


def _devices_v1(rules: tuple[cgroup_devices.Rule, ...]) -> Iterator[Write]:
    for rule in rules:
        yield Write("devices", "devices.allow" if rule.allow else "devices.deny", rule.text())


def _first(files: tuple[str, str], value: str, lacking: str) -> Write:
    return Write("blkio", files[0], value, otherwise=Write("blkio", files[1], value, lacking))


def _device(entry: Json) -> str:
    return f"{entry['major']}:{entry['minor']}"


def _or_max(value: int) -> str:
    return "max" if value < 0 else str(value)


_CONTROLLER = {"blockIO": "blkio", "hugepageLimits": "hugetlb", "network": "net_cls"}
# Section -> (writes on v1, writes on v2).
_SECTIONS: dict[str, tuple[Callable[[Json], Iterator[Write]], Callable[[Json], Iterator[Write]]]] = {
    "cpu": (_cpu_v1, _cpu_v2),
    "memory": (_memory_v1, _memory_v2),
    "pids": (_pids, _pids),
    "blockIO": (_blkio_v1, _blkio_v2),
    "hugepageLimits": (_hugetlb("hugetlb.{}.limit_in_bytes"), _hugetlb("hugetlb.{}.max")),
    "network": (_network, _network),  # v2 has no such controller: whoever asks is told so
}
