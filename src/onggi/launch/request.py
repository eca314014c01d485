"""What a monitor is asked to run: the message in the sealed memfd that the launcher forwards unread."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from onggi.kernel.capabilities import mask
from onggi.runtime import plan as plans

Json = Any


class AttachRequest(NamedTuple):
    """A client to connect before the first byte: its place among the descriptors, and what it wants."""

    arguments: Json
    fd: int


class RunRequest(NamedTuple):
    """One run of a container, as far as its monitor is concerned: only the first process reads the plan.

    ``number`` is the run counter; ``log`` has driver, directory, options and attributes.
    """

    id: str
    number: int
    run_dir: str
    shape: plans.Shape
    cgroup: str
    resources: Json
    stdin: str
    terminal: bool
    oom_score_adj: int | None
    may_trace: bool
    log: Json
    auto_go: bool
    attach: tuple[AttachRequest, ...]


def raw_request(plan: plans.Plan) -> Json:
    """The fields of a request that its plan decides, as JSON values."""
    return {
        "shape": plans.shape_of(plan),
        "cgroup": plan.cgroup,
        "resources": plan.resources,
        "terminal": plan.process.terminal,
        "oom_score_adj": plan.process.oom_score_adj,
        "may_trace": bool(plan.process.capabilities.bounding & mask(["CAP_SYS_PTRACE"])),
    }


def sample() -> bytes:
    """A request like those to come, for monitors to rehearse on (see ``runtime.spare.sample``)."""
    raw = {"id": "sample", "number": 1, "run_dir": "/", "stdin": "null", "log": {}, "auto_go": True}
    shape = {"shape": (0, (), ()), "cgroup": "/sample", "resources": {}, "terminal": False}
    return json.dumps({**raw, **shape, "oom_score_adj": None, "may_trace": False, "attach": []}).encode()


def parse(payload: bytes, fds: list[int]) -> RunRequest:
    """The request, with each client's descriptor."""
    raw = json.loads(payload)
    attach = tuple(AttachRequest(arguments, fd) for arguments, fd in zip(raw["attach"], fds, strict=True))
    return RunRequest(**{**raw, "shape": plans.load_shape(raw["shape"]), "attach": attach})
