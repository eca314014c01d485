"""``docker update`` and ``docker container prune``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from onggi.containers import hostdevices, repository
from onggi.containers.clamps import lacking
from onggi.containers.context import Context
from onggi.containers.lifecycle import Lifecycle
from onggi.containers.listing import check_filters
from onggi.containers.model import Container
from onggi.containers.request import HostConfig, Resources, RestartPolicy, convert
from onggi.containers.spec_resources import resources
from onggi.containers.validate import check_restart_policy
from onggi.containers.validate_resources import check_resources
from onggi.errors import Conflict, InvalidArgument, OnggiError, Unsupported
from onggi.filters import has_labels
from onggi.oci.until import parse_until

Json = Any
_FIELDS = [
    "cpu_shares", "memory", "nano_cpus", "blkio_weight", "cpu_period", "cpu_quota", "cpu_realtime_period",
    "cpu_realtime_runtime", "cpuset_cpus", "cpuset_mems", "memory_reservation", "memory_swap", "pids_limit",
]  # fmt: skip
_REFUSED = [
    "blkio_weight_device", "blkio_device_read_bps", "blkio_device_write_bps", "blkio_device_read_iops",
    "blkio_device_write_iops", "devices", "device_cgroup_rules", "device_requests", "memory_swappiness",
    "oom_kill_disable", "ulimits", "cgroup_parent", "kernel_memory_tcp", "init",
]  # fmt: skip


class Updating:
    """Changes limits and restart policy of containers; removes those that are down."""

    def __init__(self, context: Context, lifecycle: Lifecycle) -> None:
        self._context, self._lifecycle = context, lifecycle

    async def update(self, ref: str, body: Json) -> Json:
        """Change what the body names; a running container's cgroups at once. Answers ``{"Warnings"}``."""
        container = self._context.find(ref)
        asked = convert(body, Resources)
        wanted = (body or {}).get("RestartPolicy")
        policy = None if wanted in (None, {}) else convert(wanted, RestartPolicy)
        if policy and not policy.name and not policy.maximum_retry_count:
            policy = None  # docker's command names none unless it is asked to
        for field in _REFUSED:
            if getattr(asked, field):
                raise Unsupported(f"update of {field.replace('_', '-')} is not supported")
        async with container.lock:
            if container.removing:
                raise Conflict(f"Cannot update container {container.id}: container is marked for removal")
            new = _changed(container.spec.host_config, asked, policy)
            warnings = [*check_resources(new, self._context.host), *lacking(asked, self._context.host)]
            warnings += await self._apply(container, asked, new)
            container.spec.host_config = new
            await self._context.database.run(repository.insert(container), durable=True)
        self._context.publish(container, "update")
        return {"Warnings": list(dict.fromkeys(warnings))}

    async def _apply(self, container: Container, asked: Resources, new: HostConfig) -> list[str]:
        """The live part: only what was named, but swap follows memory and quota follows NanoCpus."""
        if not container.alive:
            return []
        changes = Resources(**{field: getattr(new, field) for field in _FIELDS if _given(asked, field)})
        if changes.memory and not changes.memory_swap:
            changes.memory_swap = new.memory_swap
        wanted = resources(changes, hostdevices.look_up)
        if not wanted:
            return []
        answer = await self._context.runtime.call(container.id, "update", {"resources": wanted})
        return list(answer.get("warnings") or [])

    async def prune(self, filters: Mapping[str, list[str]] | None = None) -> Json:
        """Remove containers that are down; docker's ``{"ContainersDeleted", "SpaceReclaimed"}``."""
        filters = filters or {}
        check_filters(filters, frozenset(("label", "label!", "until")))
        until = [parse_until(value, time.time_ns()) for value in filters.get("until", [])]
        deleted: list[str] = []
        reclaimed = 0
        for container in list(self._context.containers.values()):
            if container.state.running or container.removing or not _prunable(container, filters, until):
                continue
            try:
                reclaimed += await self._usage(container)
                await self._lifecycle.remove(container.id)
            except OnggiError:
                continue  # started or removed meanwhile
            deleted.append(container.id)
        self._context.events.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
        return {"ContainersDeleted": deleted or None, "SpaceReclaimed": reclaimed}

    async def _usage(self, container: Container) -> int:
        if container.spec.host_config.rootfs_directory:
            return 0
        return await self._context.snapshots.usage(container.id)


def _given(asked: Resources, field: str) -> bool:
    value = getattr(asked, field)
    return value is not None if field == "pids_limit" else bool(value)


def _changed(old: HostConfig, asked: Resources, policy: RestartPolicy | None) -> HostConfig:
    """A copy with the changes; contradictions with what stays are docker's errors."""
    new = msgspec.structs.replace(old)
    if asked.nano_cpus and (old.cpu_quota or old.cpu_period):
        raise InvalidArgument(
            "Conflicting options: Nano CPUs cannot be updated as CPU quota has already been set"
        )
    if (asked.cpu_quota or asked.cpu_period) and old.nano_cpus:
        raise InvalidArgument(
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"
        )
    for field in _FIELDS:
        if _given(asked, field):
            setattr(new, field, getattr(asked, field))
    if new.pids_limit is not None:
        new.pids_limit = max(new.pids_limit, 0)  # 0 is docker's word for none
    if asked.memory and not asked.memory_swap and 0 < old.memory_swap < asked.memory:
        raise InvalidArgument(
            "Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time"
        )
    if policy is not None:
        check_restart_policy(policy)
        if old.auto_remove and policy.name not in ("", "no"):
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        new.restart_policy = policy
    return new


def _prunable(container: Container, filters: Mapping[str, list[str]], until: list[int]) -> bool:
    if container.spec.step or not has_labels(container.spec.config.labels, filters):
        return False
    return all(container.created_ns < moment for moment in until)
