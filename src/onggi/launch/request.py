"""What a monitor is asked to run: the message in the sealed memfd that the launcher forwards unread."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from onggi.runtime import plan as plans
from onggi.runtime.process import compile_process

Json = Any


class AttachRequest(NamedTuple):
    """A client to connect before the first byte: its place among the descriptors, and what it wants."""

    arguments: Json
    fd: int


class RunRequest(NamedTuple):
    """One run of a container. ``number`` is the run counter; ``log`` has driver, directory, options,
    attributes.
    """

    id: str
    number: int
    run_dir: str
    plan: plans.Plan
    stdin: str
    log: Json
    auto_go: bool
    trace: bool
    attach: tuple[AttachRequest, ...]


def pack(raw: Json) -> bytes:
    """The bytes of a request; ``raw`` has RunRequest's fields with the plan as ``plan.dump`` gives it."""
    return json.dumps(raw).encode()


def sample() -> bytes:
    """A request like those to come, for spares to rehearse on: what is parsed once is fast the second time.

    A fork shares its parent's memory until it writes, and Python writes to what it reads (reference counts);
    the first parse after a fork is ten times slower than the next (seen).
    """
    ops = (
        plans.Filesystem("/proc", "proc", "proc", (("mode", "755"),), 0, 0, False, True),
        plans.Bind("/etc/hosts", 0, 0, 0, 0, 0, 0),
        plans.Symlink("/dev/fd", "/proc/self/fd"),
        plans.Device("/dev/null", "c", 1, 3, 0o666, 0, 0),
        plans.HidePath("/proc/kcore"),
        plans.ReadOnlyPath("/proc/sys"),
        plans.Hostname("sample"),
    )
    process = compile_process({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"]}, 0, ("A" * 16384, 0))
    overlay = plans.Overlay("/", ("/lower",), "/upper", "/work", (), False)
    root = plans.Root("/", "", (overlay,), False, 0, True, False)
    plan = plans.Plan(
        0, (), (), root, (plans.Source("/etc/hosts", True),), ops, process, "/sample", {}, False
    )
    raw = {"id": "sample", "number": 1, "run_dir": "/", "stdin": "null", "log": {}, "auto_go": True}
    return pack({**raw, "trace": False, "attach": [], "plan": plans.dump(plan)})


def parse(payload: bytes, fds: list[int]) -> RunRequest:
    """The request, with each client's descriptor."""
    raw = json.loads(payload)
    attach = tuple(AttachRequest(arguments, fd) for arguments, fd in zip(raw["attach"], fds, strict=True))
    return RunRequest(**{**raw, "plan": plans.load(raw["plan"]), "attach": attach})
