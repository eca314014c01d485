"""``onggi update``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.containers import path
from onggi.cli.runbody import NUMBERS, TEXTS, limits, parse_restart
from onggi.cli.runflags import CONTAINER_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_NAMES = (*NUMBERS, *TEXTS, "kernel-memory", "pids-limit", "restart")
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
    warnings: list[str] = []

    def update(name: str) -> None:
        warnings.extend(cli.engine.post(f"{path(name)}/update", body=body).get("Warnings") or [])
        cli.out(name)

    failed = cli.in_turn(arguments, update)
    for warning in warnings:
        cli.out(warning)
    return 1 if failed else 0


def update_body(options: Options) -> dict[str, Json]:
    """Return the body of ``POST /containers/NAME/update``. Raises Failure."""
    body: dict[str, Json] = dict.fromkeys(_ABSENT)
    body.update(
        {"CgroupParent": "", "CpuCount": 0, "CpuPercent": 0, "IOMaximumBandwidth": 0, "IOMaximumIOps": 0}
    )
    body |= limits(options)
    if "pids-limit" in options.given:
        body["PidsLimit"] = options.number("pids-limit")
    try:
        body["RestartPolicy"] = parse_restart(options.text("restart"))
    except ValueError as error:
        raise Failure(str(error)) from None
    return body


COMMAND = Command(
    "update [OPTIONS] CONTAINER [CONTAINER...]",
    run,
    flags=tuple((*flag[:3], "", flag[4]) for flag in CONTAINER_FLAGS if flag[0] in _NAMES),
    arguments=(1, None),
)
