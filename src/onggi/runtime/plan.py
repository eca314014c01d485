"""Plans: what will be done to start a process, as data that can be printed, compared and sent to another
process.

A plan is compiled by the daemon (or by ``onggi-runtime``), travels as JSON in a sealed memfd, and is
executed by the container's first process. Nothing in it needs a decision any more. Numbers are kernel
constants.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, get_args

from onggi.kernel.capabilities import CapSets

Json = Any
NamedRecord = Any


class Mask(NamedTuple):
    """An entry of a mask layer: ``whiteout`` hides one name, ``opaque`` empties a directory."""

    kind: str
    path: str


class Overlay(NamedTuple):
    """One overlay of the root; ``lowers`` are top first, ``nested`` puts a read-only base of the last layer
    in between. What a ``volatile`` one holds is thrown away after a crash.
    """

    target: str
    lowers: tuple[str, ...]
    upper: str
    work: str
    masks: tuple[Mask, ...]
    nested: bool
    volatile: bool = False


class Root(NamedTuple):
    """Where the root file system comes from: overlays, or a directory. ``target`` is the mount point on our
    side.
    """

    target: str
    directory: str
    overlays: tuple[Overlay, ...]
    overlay_append: bool = True
    readonly: bool = False
    propagation: int = 0


class Source(NamedTuple):
    """A tree that a bind shows, there before the mount namespace is left: a host tree that is cloned, or a
    new mount of ``fstype`` from ``path``, which ``what`` says if it fails, or a read-only view of layers
    (``lowers``, top first).
    """

    path: str
    recursive: bool
    fstype: str = ""
    options: tuple[tuple[str, str], ...] = ()
    attributes: int = 0
    lowers: tuple[str, ...] = ()
    what: str = ""


class Filesystem(NamedTuple):
    """Mount a new file system; ``strict`` refuses a target that is or lies behind a symbolic link."""

    target: str
    fstype: str
    source: str
    options: tuple[tuple[str, str], ...]
    attributes: int
    propagation: int
    copy_up: bool
    strict: bool


class Bind(NamedTuple):
    """Attach the ``source``-th cloned tree."""

    target: str
    source: int
    set: int
    clear: int
    recursive_set: int
    recursive_clear: int
    propagation: int


class Part(NamedTuple):
    """Let the ``source``-th tree be what lies at ``path`` in it; no link leads out (CVE-2017-1002101)."""

    source: int
    path: str


class Symlink(NamedTuple):
    """Make a symbolic link unless the name exists."""

    path: str
    target: str


class Device(NamedTuple):
    """Make a device node or FIFO (``kind`` is c, b or p)."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


class Console(NamedTuple):
    """Open the terminal from the container's devpts, send its master away, bind it at /dev/console."""

    rows: int
    columns: int


class HidePath(NamedTuple):
    """Mask a file with a verified null device, a directory with an empty read-only tmpfs."""

    path: str


class ReadOnlyPath(NamedTuple):
    """Make a path read-only by a bind of itself."""

    path: str


class RemountReadOnly(NamedTuple):
    """Make the mount at a path read-only, without its children."""

    path: str


class WorkingDirectory(NamedTuple):
    """Make the process's working directory where it is absent."""

    path: str


class Sysctl(NamedTuple):
    """Write one kernel parameter of the container's namespaces."""

    key: str
    value: str


class Hostname(NamedTuple):
    """Set the host name."""

    name: str


class Domainname(NamedTuple):
    """Set the NIS domain name."""

    name: str


class LoopbackUp(NamedTuple):
    """Bring up ``lo``."""


Op = (
    Filesystem
    | Bind
    | Part
    | Symlink
    | Device
    | Console
    | HidePath
    | ReadOnlyPath
    | RemountReadOnly
    | Sysctl
    | Hostname
    | Domainname
    | LoopbackUp
    | WorkingDirectory
)


class Rlimit(NamedTuple):
    """One resource limit, setrlimit(2)."""

    resource: int
    soft: int
    hard: int


class Scheduler(NamedTuple):
    """sched_setattr(2)'s attributes; times in nanoseconds."""

    policy: int
    flags: int = 0
    nice: int = 0
    priority: int = 0
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class MemoryPolicy(NamedTuple):
    """set_mempolicy(2): mode with its flags, and a mask of NUMA nodes."""

    mode: int
    nodes: int


class Process(NamedTuple):
    """A program to run inside, by run and exec alike. ``seccomp`` is BPF in base64, or empty."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int
    capabilities: CapSets
    rlimits: tuple[Rlimit, ...]
    no_new_privileges: bool
    seccomp: str
    seccomp_flags: int
    oom_score_adj: int | None
    terminal: bool
    apparmor: str
    selinux: str
    personality: int | None
    ioprio: int | None
    scheduler: Scheduler | None
    memory_policy: MemoryPolicy | None = None


class Join(NamedTuple):
    """An existing namespace to enter."""

    flag: int
    path: str


class Shape(NamedTuple):
    """The part of a plan that decides how its first process is forked."""

    unshare: int
    joins: tuple[Join, ...]
    time_offsets: tuple[tuple[str, int, int], ...]


class Plan(NamedTuple):
    """All that one container's start does, in order."""

    unshare: int
    joins: tuple[Join, ...]
    time_offsets: tuple[tuple[str, int, int], ...]
    root: Root
    sources: tuple[Source, ...]
    ops: tuple[Op, ...]
    process: Process
    cgroup: str
    resources: Json
    init: bool
    keyring: bool = True  # a session keyring of its own
    pivot: bool = True  # pivot_root(2), or where the root is a ramdisk, a move over "/"
    preserve_fds: int = 0  # descriptors from 3 on that the program inherits


_OPS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Op)}


def dump(plan: Plan) -> Json:
    """The plan as JSON values; ``load`` is its inverse."""
    return {**plan._asdict(), "ops": [[type(op).__name__, *op] for op in plan.ops]}


def load_view(raw: Json) -> tuple[Root, tuple[Source, ...], tuple[Op, ...]]:
    """Root, host trees and operations from their JSON lists."""
    sources = tuple(_load_source(source) for source in raw["sources"])
    return load_root(raw["root"]), sources, tuple(_OPS[name](*fields) for name, *fields in raw["ops"])


def load(raw: Json) -> Plan:
    """A plan from ``dump``'s JSON values, after a trip through JSON text or not."""
    root, sources, ops = load_view(raw)
    return Plan(
        unshare=raw["unshare"],
        joins=tuple(Join(*join) for join in raw["joins"]),
        time_offsets=tuple(tuple(offset) for offset in raw["time_offsets"]),
        root=root,
        sources=sources,
        ops=ops,
        process=load_process(raw["process"]),
        cgroup=raw["cgroup"],
        resources=raw["resources"],
        init=raw["init"],
        keyring=raw["keyring"],
        pivot=raw["pivot"],
        preserve_fds=raw["preserve_fds"],
    )


def _load_source(raw: Json) -> Source:
    source = Source(*raw)
    return source._replace(
        options=tuple((key, value) for key, value in source.options), lowers=tuple(source.lowers)
    )


def load_root(raw: Json) -> Root:
    """A root from its JSON list."""
    root = Root(*raw)
    overlays = (Overlay(*overlay) for overlay in root.overlays)
    return root._replace(
        overlays=tuple(
            overlay._replace(masks=tuple(Mask(*mask) for mask in overlay.masks)) for overlay in overlays
        )
    )


def load_process(raw: Json) -> Process:
    """A process from its JSON list."""
    process = Process(*raw)
    return process._replace(
        capabilities=CapSets(*process.capabilities),
        rlimits=tuple(Rlimit(*limit) for limit in process.rlimits),
        scheduler=Scheduler(*process.scheduler) if process.scheduler else None,
        memory_policy=MemoryPolicy(*process.memory_policy) if process.memory_policy else None,
    )


def shape_of(plan: Plan) -> Shape:
    """How the first process of a plan is forked."""
    return Shape(plan.unshare, plan.joins, plan.time_offsets)


def load_shape(raw: Json) -> Shape:
    """A shape from its JSON list."""
    unshare, joins, offsets = raw
    return Shape(unshare, tuple(Join(*join) for join in joins), tuple(tuple(offset) for offset in offsets))


def describe(plan: Plan) -> str:
    """The plan as text, one step a line: what ``onggi-runtime plan`` prints and golden tests compare."""
    lines = [f"cgroup {plan.cgroup or '(none)'} {json.dumps(plan.resources, sort_keys=True)}"]
    lines += [_describe_source(source) for source in plan.sources]
    lines += [f"join {join.flag:#x} {join.path}" for join in plan.joins]
    lines += [f"unshare {plan.unshare:#x}"]
    lines += [f"root {_fields(plan.root)}"]
    lines += [f"{type(op).__name__.lower()} {_fields(op)}".rstrip() for op in plan.ops]
    shown = plan.process._replace(
        seccomp=f"{len(plan.process.seccomp)} characters" if plan.process.seccomp else ""
    )
    lines += [f"process.{name} {value!r}" for name, value in shown._asdict().items()]
    return "\n".join(lines) + "\n"


def _describe_source(source: Source) -> str:
    if source.lowers:
        return f"layers {' '.join(source.lowers)}"
    if source.fstype:
        return f"mount {source.fstype} {source.path} {source.options} {source.attributes:#x}"
    return f"clone {source.path}{' recursive' if source.recursive else ''}"


def _fields(record: NamedRecord) -> str:
    return " ".join(f"{name}={value!r}" for name, value in record._asdict().items())
