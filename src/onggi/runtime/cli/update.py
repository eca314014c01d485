"""update: change the limits of a running container."""

from __future__ import annotations

from typing import Any

from onggi.errors import Conflict, InvalidArgument, Unsupported
from onggi.runtime.cli import bundle
from onggi.runtime.cli.context import Context
from onggi.runtime.cli.options import Option, Values
from onggi.runtime.cli.state import status

Json = Any
# option -> (section of linux.resources, field, how its value is written)
_FIELDS = {
    "blkio-weight": ("blockIO", "weight", "number"),
    "cpu-period": ("cpu", "period", "number"),
    "cpu-quota": ("cpu", "quota", "number"),
    "cpu-burst": ("cpu", "burst", "number"),
    "cpu-idle": ("cpu", "idle", "number"),
    "cpu-share": ("cpu", "shares", "number"),
    "cpu-rt-period": ("cpu", "realtimePeriod", "number"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", "number"),
    "cpuset-cpus": ("cpu", "cpus", "text"),
    "cpuset-mems": ("cpu", "mems", "text"),
    "kernel-memory": ("memory", "kernel", "bytes"),
    "kernel-memory-tcp": ("memory", "kernelTCP", "bytes"),
    "memory": ("memory", "limit", "bytes"),
    "memory-reservation": ("memory", "reservation", "bytes"),
    "memory-swap": ("memory", "swap", "bytes"),
    "pids-limit": ("pids", "limit", "number"),
}
_REFUSED = ("l3-cache-schema", "mem-bw-schema")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
OPTIONS = (
    Option("resources", "r", "FILE", help="linux.resources as JSON; - is standard input"),
    *(Option(name, value="VALUE") for name in (*_FIELDS, *_REFUSED)),
)


def update(context: Context, options: Values, arguments: list[str]) -> int:
    """Apply limits given by options or by a JSON document."""
    directory = context.directory(arguments)
    resources = wanted(options)
    with directory.locked():
        state = directory.load()
        if status(directory, state, context.hierarchies()) == "stopped":
            raise Conflict("container not running")
        group = context.group(state)
        if group is None:
            raise Unsupported("update needs control groups, which --cgroup-manager=disabled leaves out")
        for warning in group.apply(resources):
            context.log.warning(warning)
    return 0


def wanted(options: Values) -> Json:
    """``linux.resources`` as asked for; raises InvalidArgument or Unsupported by the option's name."""
    for name in _REFUSED:
        if name in options:
            raise Unsupported(f"--{name}: Intel RDT is not supported")
    if "resources" in options:
        found = bundle.read_json(options.text("resources"))
        if not isinstance(found, dict):
            raise InvalidArgument("--resources: not a JSON object")
        return found
    resources: dict[str, Json] = {}
    for name, (section, field, kind) in _FIELDS.items():
        if name in options:
            resources.setdefault(section, {})[field] = _value(options, name, kind)
    return resources


def _value(options: Values, name: str, kind: str) -> Json:
    if kind == "text":
        return options.text(name)
    return options.number(name) if kind == "number" else size(options.text(name), name)


def size(text: str, name: str) -> int:
    """Bytes from a number with an optional unit (k, m, g, t, powers of 1024); -1 is no limit."""
    number = text.lower().removesuffix("b") or text
    digits = number.rstrip("kmgt")
    unit = number[len(digits) :]
    if not digits.lstrip("-").isdigit() or unit not in _UNITS:
        raise InvalidArgument(f"invalid value {text!r} for --{name}: not a size")
    return int(digits) * _UNITS[unit]
