"""What a monitor is asked to run: the message in the sealed memfd that the launcher forwards unread."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from onggi.runtime import plan as plans

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


def parse(payload: bytes, fds: list[int]) -> RunRequest:
    """The request, with each client's descriptor."""
    raw = json.loads(payload)
    attach = tuple(AttachRequest(arguments, fd) for arguments, fd in zip(raw["attach"], fds, strict=True))
    return RunRequest(**{**raw, "plan": plans.load(raw["plan"]), "attach": attach})
