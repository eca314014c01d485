"""Commands that only look: state, list, ps, features, spec and plan."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from onggi.errors import Conflict, InvalidArgument, NotFound, Unsupported
from onggi.kernel import capabilities, cgroup_mounts
from onggi.kernel.cgroups import Group
from onggi.kernel.files import read_small
from onggi.runtime import compile as compiler
from onggi.runtime import mountopts
from onggi.runtime.cli import bundle, hooks, template
from onggi.runtime.cli.context import Context
from onggi.runtime.cli.options import Values
from onggi.runtime.cli.state import Directory, all_ids, public, status
from onggi.runtime.plan import describe

Json = Any


def _print_json(value: Json) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _form(options: Values) -> str:
    form = options.text("format", "table")
    if form not in ("table", "json"):
        raise InvalidArgument(f"invalid format {form!r}: it is table or json")
    return form


def state(context: Context, _: Values, arguments: list[str]) -> int:
    """Print the state of a container (runtime.md#state)."""
    _print_json(_shown(context, context.directory(arguments)))
    return 0


def _shown(context: Context, directory: Directory) -> Json:
    record = directory.load()
    shown = public(record, status(directory, record, context.hierarchies()))
    return {**shown, "rootfs": record.rootfs, "created": record.created, "owner": _owner(record.owner)}


def _owner(uid: int) -> str:
    for line in read_small("/etc/passwd").decode(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            return fields[0]
    return f"#{uid}"


def list_(context: Context, options: Values, _: list[str]) -> int:
    """Print every container below the root."""
    rows = [row for name in all_ids(context.root) if (row := _row(context, name))]
    if options.flag("quiet"):
        sys.stdout.write("".join(f"{row['id']}\n" for row in rows))
    elif _form(options) == "json":
        _print_json(rows)
    else:
        keys = ("id", "pid", "status", "bundle", "created", "owner")
        table = [[key.upper() for key in keys], *([str(row[key]) for key in keys] for row in rows)]
        _print_table(table)
    return 0


def _row(context: Context, name: str) -> Json:
    try:
        return _shown(context, Directory(context.root, name))
    except NotFound:  # deleted meanwhile
        return None


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


def ps(context: Context, options: Values, arguments: list[str]) -> int:
    """Print the processes of a container, by their pids outside."""
    directory = context.directory(arguments)
    record = directory.load()
    if status(directory, record, context.hierarchies()) == "stopped":
        raise Conflict("container not running")
    group = context.group(record)
    pids = group.pids() if group else [record.pid]
    if _form(options) == "json":
        _print_json(pids)
    else:
        _print_table([["PID", "COMMAND"], *([str(pid), _command(pid)] for pid in pids)])
    return 0


def _command(pid: int) -> str:
    try:
        return read_small(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def features(_: Context, __: Values, ___: list[str]) -> int:
    """Print what this runtime implements (features.md)."""
    unified = cgroup_mounts.detect().unified is not None
    linux = {
        "namespaces": sorted(compiler.NAMESPACES),
        "capabilities": list(capabilities.NAMES[: capabilities.last_cap() + 1]),
        "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": False},
        "seccomp": {"enabled": True, **template.SECCOMP},
        "apparmor": {"enabled": True},
        "selinux": {"enabled": True},
        "intelRdt": {"enabled": False},
        "mountExtensions": {"idmap": {"enabled": False}},
    }
    _print_json(
        {
            "ociVersionMin": "1.0.0",
            "ociVersionMax": bundle.VERSION,
            "hooks": list(hooks.NAMES),
            "mountOptions": sorted(mountopts.NAMES),
            "linux": linux,
            "annotations": {"org.onggi.cgroup.unified": str(unified).lower()},
        }
    )
    return 0


def spec(_: Context, options: Values, __: list[str]) -> int:
    """Write an example config.json into a bundle."""
    if options.flag("rootless"):
        raise Unsupported("spec --rootless: containers without root are not supported")
    path = os.path.join(options.text("bundle") or ".", "config.json")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise Conflict(f"file {path} exists; remove it first") from None
    with os.fdopen(fd, "w") as file:
        file.write(json.dumps(template.config(bundle.VERSION), indent=4) + "\n")
    return 0


def plan(context: Context, _: Values, arguments: list[str]) -> int:
    """Print what starting a bundle would do, one step a line."""
    if len(arguments) != 1:
        raise InvalidArgument("expected the directory of a bundle")
    where = os.path.abspath(arguments[0])
    config = bundle.load(where)
    found = context.hierarchies()
    name = os.path.basename(where)
    group = Group(found, bundle.cgroup_path(config, name)) if found.mounts else None
    sys.stdout.write(describe(bundle.compile_bundle(config, where, group)))
    return 0
