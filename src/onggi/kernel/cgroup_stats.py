"""Counters of a control group in the shape of docker's ``stats``: bytes, nanoseconds, v1 and v2.

May import: errors and ``files``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from onggi.kernel.files import read_small

Json = Any
_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


# docker's statistics have these too: empty here, and null on cgroup v2.
_NO_BLKIO = (
    "io_queue_recursive", "io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive",
    "io_time_recursive", "sectors_recursive",
)  # fmt: skip


def read(directories: Mapping[str, tuple[int, str]]) -> Json:
    """Counters by controller -> (version, directory); what is missing or gone is left out."""
    found: dict[str, Json] = {"cpu_stats": {}, "memory_stats": {}, "pids_stats": {}, "blkio_stats": {}}
    if "cpu" in directories or "cpuacct" in directories:
        found["cpu_stats"] = _cpu(directories)
    for key, name, readers in (
        ("memory_stats", "memory", (_memory_v1, _memory_v2)),
        ("pids_stats", "pids", (_pids, _pids)),
        ("blkio_stats", "blkio", (_blkio_v1, _blkio_v2)),
    ):
        if name in directories:
            version, directory = directories[name]
            found[key] = readers[version - 1](directory)
    return found


def flat(text: str) -> dict[str, int]:
    """A flat-keyed file ("key value" lines) as a dictionary."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def system_cpu() -> tuple[int, int]:
    """CPU time of the whole machine in nanoseconds since boot, and the number of CPUs online."""
    lines = read_small("/proc/stat").decode().splitlines()
    # user nice system idle iowait irq softirq steal; guest time is already in user.
    ticks = sum(int(word) for word in lines[0].split()[1:9])
    cpus = sum(1 for line in lines[1:] if line.startswith("cpu"))
    return ticks * _NS_PER_TICK, cpus


def _cpu(directories: Mapping[str, tuple[int, str]]) -> Json:
    version, directory = directories.get("cpu") or directories["cpuacct"]
    stat = _flat(f"{directory}/cpu.stat")
    if version == 2:
        usage: Json = {
            "total_usage": stat.get("usage_usec", 0) * 1000,
            "usage_in_kernelmode": stat.get("system_usec", 0) * 1000,
            "usage_in_usermode": stat.get("user_usec", 0) * 1000,
        }
        return {
            "cpu_usage": usage,
            "throttling_data": _throttling(stat, stat.get("throttled_usec", 0) * 1000),
        }
    account = directories.get("cpuacct", (1, directory))[1]
    usage = {"total_usage": _number(f"{account}/cpuacct.usage")}
    if per_cpu := _text(f"{account}/cpuacct.usage_percpu").split():
        usage["percpu_usage"] = [int(word) for word in per_cpu]
    usage["usage_in_kernelmode"] = _number(f"{account}/cpuacct.usage_sys")
    usage["usage_in_usermode"] = _number(f"{account}/cpuacct.usage_user")
    return {"cpu_usage": usage, "throttling_data": _throttling(stat, stat.get("throttled_time", 0))}


def _throttling(stat: Mapping[str, int], time_ns: int) -> Json:
    return {
        "periods": stat.get("nr_periods", 0),
        "throttled_periods": stat.get("nr_throttled", 0),
        "throttled_time": time_ns,
    }


def _memory_v1(directory: str) -> Json:
    return {
        "usage": _number(f"{directory}/memory.usage_in_bytes"),
        "max_usage": _number(f"{directory}/memory.max_usage_in_bytes"),
        "failcnt": _number(f"{directory}/memory.failcnt"),
        "limit": _limit(_text(f"{directory}/memory.limit_in_bytes")),
        "stats": _flat(f"{directory}/memory.stat"),
    }


def _memory_v2(directory: str) -> Json:
    found = {
        "usage": _number(f"{directory}/memory.current"),
        "limit": _limit(_text(f"{directory}/memory.max")),
        "stats": _flat(f"{directory}/memory.stat"),
    }
    if peak := _number(f"{directory}/memory.peak"):
        found["max_usage"] = peak
    return found


def _limit(text: str) -> int:
    """A limit in bytes; where there is none, the memory of the machine."""
    page_count, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    machine = page_count * page_size
    return min(int(text), machine) if text.strip().isdigit() else machine


def _pids(directory: str) -> Json:
    limit = _text(f"{directory}/pids.max").strip()
    # Docker shows "no limit" as the largest unsigned number.
    return {
        "current": _number(f"{directory}/pids.current"),
        "limit": int(limit) if limit.isdigit() else 2**64 - 1,
    }


def _blkio_v1(directory: str) -> Json:
    # With the bfq scheduler its own files count; the throttle files count under every scheduler.
    return {
        "io_service_bytes_recursive": list(
            _entries_v1(f"{directory}/blkio.throttle.io_service_bytes_recursive")
        ),
        "io_serviced_recursive": list(_entries_v1(f"{directory}/blkio.throttle.io_serviced_recursive")),
        **{name: [] for name in _NO_BLKIO},
    }


def _entries_v1(path: str) -> Iterator[Json]:
    for line in _text(path).splitlines():
        words = line.replace(":", " ").split()
        if len(words) == 4:
            yield {
                "major": int(words[0]),
                "minor": int(words[1]),
                "op": words[2].lower(),
                "value": int(words[3]),
            }


def _blkio_v2(directory: str) -> Json:
    found: dict[str, list[Json]] = {"io_service_bytes_recursive": [], "io_serviced_recursive": []}
    names = {"rbytes": (0, "read"), "wbytes": (0, "write"), "rios": (1, "read"), "wios": (1, "write")}
    lists = list(found.values())
    for line in _text(f"{directory}/io.stat").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        for name, value in (pair.split("=") for pair in pairs):
            if name in names:
                index, op = names[name]
                lists[index].append({"major": int(major), "minor": int(minor), "op": op, "value": int(value)})
    return found | dict.fromkeys(_NO_BLKIO)


def _text(path: str) -> str:
    try:
        return read_small(path).decode()
    except OSError:  # the kernel lacks the counter, or the group has ended meanwhile: then there is no number
        return ""


def _flat(path: str) -> dict[str, int]:
    return flat(_text(path))


def _number(path: str) -> int:
    text = _text(path).strip()
    return int(text) if text.isdigit() else 0
