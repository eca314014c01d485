"""The bytes that a monitor and a container's first process are given, compiled once per shape of a container.

Two requests of one shape get configurations that differ in the container's id alone (and its first twelve
digits, the hostname). What was compiled for the first serves the next with one id in place of the other. An
id is 256 random bits drawn after the client has spoken: nothing in its request can be taken for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from onggi.containers.attaching import attach_arguments
from onggi.containers.runtime import StartRequest
from onggi.kernel.cgroup_mounts import Hierarchies
from onggi.kernel.features import Features
from onggi.launch.request import raw_request
from onggi.runtime import compile as compiler
from onggi.runtime import plan as plans
from onggi.store.rootfs import Rootfs

Json = Any
_MOST = 256  # shapes remembered
_encode = msgspec.json.Encoder().encode


class Payload(NamedTuple):
    """``request`` is for the monitor, ``plan`` for the first process; ``cgroup`` is the container's group."""

    request: bytes
    plan: bytes
    cgroup: str


class _Compiled(NamedTuple):
    """What was compiled for container ``id``: JSON objects without what differs from run to run."""

    id: str
    request: bytes
    plan: bytes
    root: plans.Root
    cgroup: str

    def of(self, container_id: str) -> _Compiled:
        """The same for another container."""
        old, new = self.id.encode(), container_id.encode()
        request, plan = (
            text.replace(old, new).replace(old[:12], new[:12]) for text in (self.request, self.plan)
        )
        return _Compiled(container_id, request, plan, self.root, self.cgroup.replace(self.id, container_id))


class Payloads:
    """Compiles start requests."""

    def __init__(self, features: Features, hierarchies: Hierarchies, mount_point: str) -> None:
        self._features, self._hierarchies, self.mount_point = features, hierarchies, mount_point
        self._compiled: dict[object, _Compiled] = {}

    def make(self, request: StartRequest) -> Payload:
        """Raises InvalidArgument or Unsupported."""
        key = (request.shape, request.seccomp, request.size) if request.shape else None
        compiled = self._compiled.get(key) if key else None
        if compiled is None:
            compiled = self._compile(request)
            if key:
                if len(self._compiled) >= _MOST:
                    self._compiled.clear()
                self._compiled[key] = compiled
        compiled = compiled.of(request.id)
        root = compiled.root._replace(overlays=_overlays(request.rootfs))
        return Payload(
            _joined(encode(_of_this_run(request)), compiled.request),
            _joined(encode({"root": root}), compiled.plan),
            compiled.cgroup,
        )

    def plan(self, request: StartRequest) -> plans.Plan:
        """The plan of a start request."""
        config = request.config()
        environment = compiler.Environment(
            features=self._features,
            root=self._root(request.rootfs),
            cgroup_dirs=self._hierarchies.places(config["linux"]["cgroupsPath"]),
            seccomp=request.seccomp,
        )
        if request.tty and request.size:
            config["process"]["consoleSize"] = {"height": request.size[0], "width": request.size[1]}
        return compiler.compile_plan(config, environment)

    def root_without_upper(self, rootfs: Rootfs) -> plans.Root:
        """A read-only root, for whoever mounts it beside containers."""
        root = self._root(rootfs)
        overlays = tuple(overlay._replace(upper="", work="") for overlay in root.overlays)
        return root._replace(overlays=overlays, readonly=True)

    def _compile(self, request: StartRequest) -> _Compiled:
        plan = self.plan(request)
        dumped = plans.dump(plan)
        del dumped["root"]
        return _Compiled(request.id, encode(raw_request(plan)), encode(dumped), plan.root, plan.cgroup)

    def view(self, rootfs: Rootfs, mounts: Sequence[Json], *, readonly: bool, directory: str) -> Json:
        """The arguments of the job ``view``: a root with some mounts, for somebody to look at."""
        root = self._root(rootfs)
        sources, ops = compiler.compile_mounts(mounts, compiler.Environment(self._features, root))
        root = root._replace(readonly=readonly)
        # Below what is mounted, as in docker.
        made = (plans.WorkingDirectory(directory),) if directory else ()
        return {"root": root, "sources": sources, "ops": [[type(op).__name__, *op] for op in (*made, *ops)]}

    def _root(self, rootfs: Rootfs) -> plans.Root:
        directory = rootfs.path if rootfs.kind == "directory" else ""
        return plans.Root(self.mount_point, directory, _overlays(rootfs), self._features.overlay_append)


def encode(value: Json) -> bytes:
    """JSON; a name of the machine that is not UTF-8 takes the slow way."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def _joined(first: bytes, second: bytes) -> bytes:
    """Two JSON objects as one; neither is empty."""
    return first[:-1] + b"," + second[1:]


def _overlays(rootfs: Rootfs) -> tuple[plans.Overlay, ...]:
    return tuple(
        plans.Overlay(
            target=overlay.target,
            lowers=tuple(overlay.lowers),
            upper=overlay.upper or "",
            work=overlay.work or "",
            masks=tuple(plans.Mask(mask.kind, mask.path) for mask in overlay.masks),
            nested=overlay.nested,
            volatile=overlay.volatile,
        )
        for overlay in rootfs.overlays
    )


def _of_this_run(request: StartRequest) -> Json:
    return {
        "id": request.id,
        "number": request.run,
        "run_dir": request.run_dir,
        "stdin": request.stdin,
        "log": request.log,
        "auto_go": request.wire is None,
        "attach": [attach_arguments(attach) for attach in request.attach],
    }
