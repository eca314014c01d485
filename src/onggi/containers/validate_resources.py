"""Limits that are wrong or contradict each other, in docker's words. Pure; also used by ``update``."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from onggi.containers.host import Host, parse_cpu_list
from onggi.containers.request import HostConfig, Resources
from onggi.errors import InvalidArgument

MIN_MEMORY = 6 << 20


def check_resources(limits: Resources, host: Host) -> list[str]:
    """Raise InvalidArgument for what cannot be; return docker's warnings."""
    _check_memory(limits)
    _check_cpu(limits, host)
    _check_sets(limits, host)
    _check_blkio(limits)
    warnings = []
    if isinstance(limits, HostConfig) and not -1000 <= limits.oom_score_adj <= 1000:
        raise InvalidArgument(
            f"Invalid value {limits.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    if limits.oom_kill_disable and not limits.memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the "
            "system running out of resources."
        )
    return warnings


def _check_memory(limits: Resources) -> None:
    memory, swap, reservation = limits.memory, limits.memory_swap, limits.memory_reservation
    if memory and memory < MIN_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if memory > 0 and 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if swap < -1:
        raise InvalidArgument(f"Invalid value {swap}, memory swap is -1 or a size")
    swappiness = limits.memory_swappiness
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise InvalidArgument(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if reservation and reservation < MIN_MEMORY:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reservation:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")


def _check_cpu(limits: Resources, host: Host) -> None:
    if limits.cpu_shares < 0:
        raise InvalidArgument(f"invalid CPU shares ({limits.cpu_shares}): value must be a positive integer")
    if limits.nano_cpus:
        for name, value in (("CPU Period", limits.cpu_period), ("CPU Quota", limits.cpu_quota)):
            if value:
                raise InvalidArgument(f"Conflicting options: Nano CPUs and {name} cannot both be set")
        count = len(host.cpus)
        if not 10_000_000 <= limits.nano_cpus <= count * 1_000_000_000:
            raise InvalidArgument(
                f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
            )
    if limits.cpu_period and not 1000 <= limits.cpu_period <= 1_000_000:
        raise InvalidArgument(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < limits.cpu_quota < 1000 or limits.cpu_quota < -1:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if limits.cpu_realtime_runtime > limits.cpu_realtime_period:
        raise InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period")


def _check_sets(limits: Resources, host: Host) -> None:
    for name, what, text, available in (
        ("cpus", "CPUs", limits.cpuset_cpus, host.cpus),
        ("mems", "memory nodes", limits.cpuset_mems, host.mems),
    ):
        if not text:
            continue
        try:
            asked = parse_cpu_list(text)
        except ValueError:
            words = f"Invalid value {text[:64]} for cpuset {name}: invalid format: {text[:64]}"
            raise InvalidArgument(words) from None
        if not asked <= available:
            have = _ranges(available)
            raise InvalidArgument(f"Requested {what} are not available - requested {text}, available: {have}")


def _ranges(numbers: Iterable[int]) -> str:
    """``0-2,5``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def _check_blkio(limits: Resources) -> None:
    if limits.blkio_weight and not 10 <= limits.blkio_weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    for device in limits.blkio_weight_device:
        if not 10 <= device.weight <= 1000:
            raise InvalidArgument(f"Range of blkio weight is from 10 to 1000 (device {device.path})")
    for throttle in chain(*limits.throttles.values()):
        if throttle.rate < 0:
            raise InvalidArgument(f"invalid rate {throttle.rate} for device {throttle.path}")
    pids = limits.pids_limit
    if pids is not None and pids >= 2**62:
        raise InvalidArgument(f"invalid pids limit {pids}")
