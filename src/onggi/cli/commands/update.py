"""``onggi update``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.containers import path
from onggi.cli.runbody import parse_restart
from onggi.cli.runflags import CONTAINER_FLAGS
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_NUMBERS = {
    "blkio-weight": "BlkioWeight",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpu-shares": "CpuShares",
    "cpus": "NanoCpus",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
}
_TEXTS = {"cpuset-cpus": "CpusetCpus", "cpuset-mems": "CpusetMems"}
_NAMES = (*_NUMBERS, *_TEXTS, "kernel-memory", "pids-limit", "restart")
_ABSENT = (
    "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps",
    "BlkioWeightDevice", "DeviceCgroupRules", "DeviceRequests", "Devices", "MemorySwappiness",
    "OomKillDisable", "Ulimits", "PidsLimit",
)  # fmt: skip


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Change limits and restart policy of containers and print their names."""
    if not options.given:
        raise Failure("you must provide one or more flags when using this command")
    body = update_body(options)
    status = 0
    warnings: list[str] = []
    for name in arguments:
        try:
            warnings += cli.engine.post(f"{path(name)}/update", body=body).get("Warnings") or []
            cli.out(name)
        except ClientError as error:
            cli.err(str(error))
            status = 1
    for warning in warnings:
        cli.out(warning)
    return status


def update_body(options: Options) -> dict[str, Json]:
    """Return the body of ``POST /containers/NAME/update``. Raises Failure."""
    body: dict[str, Json] = dict.fromkeys(_ABSENT)
    body.update(
        {"CgroupParent": "", "CpuCount": 0, "CpuPercent": 0, "IOMaximumBandwidth": 0, "IOMaximumIOps": 0}
    )
    body.update({field: options.number(name) for name, field in _NUMBERS.items()})
    body.update({field: options.text(name) for name, field in _TEXTS.items()})
    if "pids-limit" in options.given:
        body["PidsLimit"] = options.number("pids-limit")
    try:
        body["RestartPolicy"] = parse_restart(options.text("restart"))
    except ValueError as error:
        raise Failure(str(error)) from None
    return body


COMMAND = Command(
    "update [OPTIONS] CONTAINER [CONTAINER...]",
    "Change the limits of containers",
    run,
    flags=tuple((*flag[:3], "", flag[4]) for flag in CONTAINER_FLAGS if flag[0] in _NAMES),
    arguments=(1, None),
    aliases=("container update", "update"),
)
