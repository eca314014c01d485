"""config.json -> Plan: pure; every decision about a container's start is taken here.

Source: OCI runtime-spec config.md and config-linux.md. What a bundle asks for and we do not do is refused by
name.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple

from onggi.errors import InvalidArgument, Unsupported
from onggi.kernel import syscalls as k
from onggi.kernel.features import Features
from onggi.kernel.paths import names_of
from onggi.runtime import mountopts, scheduling, sysctl
from onggi.runtime.devices import device_ops
from onggi.runtime.plan import (
    Bind,
    Console,
    Domainname,
    Filesystem,
    HidePath,
    Hostname,
    Join,
    LoopbackUp,
    Op,
    Part,
    Plan,
    ReadOnlyPath,
    RemountReadOnly,
    Root,
    Source,
    Symlink,
    Sysctl,
    WorkingDirectory,
)
from onggi.runtime.process import compile_process

Json = Any
NAMESPACES = {
    "mount": k.CLONE_NEWNS,
    "uts": k.CLONE_NEWUTS,
    "ipc": k.CLONE_NEWIPC,
    "network": k.CLONE_NEWNET,
    "cgroup": k.CLONE_NEWCGROUP,
    "pid": k.CLONE_NEWPID,
    "time": k.CLONE_NEWTIME,
    "user": k.CLONE_NEWUSER,
}


class Environment(NamedTuple):
    """What the machine adds to a bundle: features, our side of the root, the container's cgroup directories.

    ``cgroup_dirs`` are the places of ``Hierarchies.places``; a single pair named ``""`` is v2.
    ``seccomp`` is a compiled program, or None to compile the bundle's own.
    """

    features: Features
    root: Root
    cgroup_dirs: tuple[tuple[str, str], ...] = ()
    seccomp: bytes | None = None


def compile_plan(config: Json, environment: Environment) -> Plan:
    """The plan of a bundle; raises InvalidArgument (with the field's path) or Unsupported."""
    linux = config.get("linux") or {}
    unshare, joins = _namespaces(linux.get("namespaces") or ())
    if not config.get("process"):
        raise InvalidArgument("config.json: process is missing")
    seccomp = seccomp_of(linux, environment)
    process = compile_process(config["process"], environment.features.capabilities, seccomp)
    process = scheduling.with_linux(process, linux)
    mounts = _Mounts(environment, private_cgroup=bool(unshare & k.CLONE_NEWCGROUP))
    for mount in config.get("mounts") or ():
        mounts.add(mount)
    has_dev = not any(
        _clean(m.get("destination", "")) == "/dev" and mounts.is_bind(m) for m in config.get("mounts") or ()
    )
    ops: list[Op] = [*mounts.ops]
    if has_dev:
        ops += device_ops(linux.get("devices") or ())
    if process.terminal:
        size = config["process"].get("consoleSize") or {}
        ops.append(Console(int(size.get("height", 0)), int(size.get("width", 0))))
    own = unshare | sum(join.flag for join in joins)
    ops += _identity(config, linux, unshare, own)
    if process.cwd != "/":
        ops.append(WorkingDirectory(process.cwd))
    ops += [ReadOnlyPath(path) for path in linux.get("readonlyPaths") or ()]
    ops += [HidePath(path) for path in linux.get("maskedPaths") or ()]
    return Plan(
        unshare=unshare,
        joins=joins,
        time_offsets=_time_offsets(linux.get("timeOffsets") or {}),
        root=_root(config, linux, environment.root),
        sources=tuple(mounts.sources),
        ops=tuple(ops),
        process=process,
        cgroup=linux.get("cgroupsPath") or "",
        resources=linux.get("resources") or {},
        init=(config.get("annotations") or {}).get("org.onggi.init") == "true",
    )


def compile_mounts(
    mounts: Sequence[Json], environment: Environment
) -> tuple[tuple[Source, ...], tuple[Op, ...]]:
    """The host trees and operations of ``mounts`` alone, in the order given; raises as ``compile_plan``."""
    compiled = _Mounts(environment, private_cgroup=False)
    for mount in mounts:
        compiled.add(mount)
    return tuple(compiled.sources), tuple(compiled.ops)


def seccomp_of(linux: Json, environment: Environment) -> tuple[str, int]:
    """(program in base64 or empty, seccomp(2) flags) for a bundle."""
    program = environment.seccomp
    profile = linux.get("seccomp")
    if program is None and profile:
        # libseccomp is needed only where a bundle brings a profile of its own.
        from onggi.kernel import seccomp

        program = seccomp.compile_oci(profile)
    text = binascii.b2a_base64(program, newline=False).decode() if program else ""
    return text, _seccomp_flags((profile or {}).get("flags") or ())


def _seccomp_flags(names: Sequence[str]) -> int:
    known = {
        "SECCOMP_FILTER_FLAG_TSYNC": 0,
        "SECCOMP_FILTER_FLAG_LOG": 2,
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    }
    flags = 0
    for name in names:
        if name not in known:
            raise Unsupported(f"linux.seccomp.flags: {name} is not supported")
        flags |= known[name]
    return flags


def _namespaces(entries: Sequence[Json]) -> tuple[int, tuple[Join, ...]]:
    unshare, joins = 0, []
    for entry in entries:
        flag = NAMESPACES.get(entry.get("type", ""))
        if flag is None:
            raise InvalidArgument(f"linux.namespaces: unknown type {entry.get('type')!r}")
        if flag == k.CLONE_NEWUSER:
            raise Unsupported("linux.namespaces: user namespaces are not supported yet")
        if entry.get("path"):
            joins.append(Join(flag, entry["path"]))
        elif unshare & flag:
            raise InvalidArgument(f"linux.namespaces: duplicated namespace {entry['type']!r}")
        else:
            unshare |= flag
    return unshare, tuple(joins)


class _Mounts:
    """Collects the operations and host trees of ``mounts``."""

    def __init__(self, environment: Environment, private_cgroup: bool) -> None:
        self.environment, self.private_cgroup = environment, private_cgroup
        self.sources: list[Source] = []
        self.ops: list[Op] = []

    @staticmethod
    def is_bind(mount: Json) -> bool:
        options = mount.get("options") or ()
        return mount.get("type") == "bind" or "bind" in options or "rbind" in options

    def add(self, mount: Json) -> None:
        target = mount.get("destination") or ""
        if not target.startswith("/"):
            # runc and crun accept it relative to the root, with a warning.
            target = "/" + target
        options = mountopts.parse(mount.get("options") or ())
        if mount.get("uidMappings") or mount.get("gidMappings"):
            raise Unsupported(f"mounts: id mapped mount at {target} is not supported")
        if mount.get("made"):
            self._made(target, mount, options)
        elif self.is_bind(mount):
            self._part(mount, len(self.sources))
            self._bind(target, mount.get("source") or "", options)
        elif mount.get("type") in ("cgroup", "cgroup2"):
            self._cgroup(target, options)
        else:
            self.ops.append(_filesystem(target, mount, options))

    def _source(self, path: str, recursive: bool) -> int:
        if not path:
            raise InvalidArgument("mounts: a bind mount needs a source")
        self.sources.append(Source(path, recursive))
        return len(self.sources) - 1

    def _bind(self, target: str, source: str, o: mountopts.MountOptions) -> None:
        if _clean(target) == "/proc" or (_inside_proc(target) and not _allowed_in_proc(target)):
            raise InvalidArgument(
                f'"{source}" cannot be mounted to rootfs at "{target}" because it is inside /proc'
            )
        index = self._source(source, o.recursive)
        self.ops.append(
            Bind(target, index, o.set, o.clear, o.recursive_set, o.recursive_clear, o.propagation)
        )

    def _made(self, target: str, mount: Json, o: mountopts.MountOptions) -> None:
        """What our engine asks for beyond the specification: a bind of what is mounted for this container
        alone, layers of an image or a file system of a volume's options.
        """
        made = mountopts.parse(mount["made"].get("options") or ())
        attributes = made.set | made.recursive_set
        lowers = tuple(mount["made"].get("lowers") or ())
        source = Source(mount.get("source") or "", False, mount["made"].get("type") or "", made.data)
        if made.set & k.MOUNT_ATTR_RDONLY:  # the file system too: its device may be
            source = source._replace(options=(*source.options, ("ro", "")))
        self._part(mount, len(self.sources))
        self.ops.append(Bind(target, len(self.sources), o.set, o.clear, 0, 0, o.propagation))
        what = mount["made"].get("what") or ""
        self.sources.append(source._replace(attributes=attributes, lowers=lowers, what=what))

    def _part(self, mount: Json, source: int) -> None:
        if mount.get("subpath"):
            self.ops.append(Part(source, mount["subpath"]))

    def _cgroup(self, target: str, o: mountopts.MountOptions) -> None:
        dirs = self.environment.cgroup_dirs
        if len(dirs) == 1 and not dirs[0][0]:
            if self.private_cgroup:
                options = (target, "cgroup2", "cgroup", (), o.set, o.propagation, False, True)
                self.ops.append(Filesystem(*options))
            else:
                self.ops.append(Bind(target, self._source(dirs[0][1], False), o.set, 0, 0, 0, o.propagation))
            return
        base = k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NODEV | k.MOUNT_ATTR_NOEXEC
        tmpfs = (("mode", "755"), ("size", "64k"))
        self.ops.append(Filesystem(target, "tmpfs", "cgroup", tmpfs, base, o.propagation, False, True))
        for name, directory in dirs:
            self.ops.append(
                Bind(f"{target}/{name}", self._source(directory, False), o.set | base, 0, 0, 0, o.propagation)
            )
            self.ops += [Symlink(f"{target}/{part}", name) for part in name.split(",") if part != name]
        if o.set & k.MOUNT_ATTR_RDONLY:
            self.ops.append(RemountReadOnly(target))


def _allowed_in_proc(target: str) -> bool:
    # lxcfs and friends show their own view of these files; runc allows the same ones.
    names = ["cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev"]
    names += ["sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"]
    return _clean(target).removeprefix("/proc/") in names


def _filesystem(target: str, mount: Json, o: mountopts.MountOptions) -> Filesystem:
    fstype = mount.get("type") or ""
    if not fstype:
        raise InvalidArgument(f"mounts: {target} has no type")
    strict = fstype in ("proc", "sysfs") or _clean(target) in ("/dev", "/proc", "/sys")
    if (_clean(target) == "/proc" and fstype != "proc") or (
        fstype == "proc" and _clean(target) != "/proc" and _inside_proc(target)
    ):
        raise InvalidArgument(f'"{target}" cannot be mounted because it is inside /proc')
    source = mount.get("source") or fstype
    options = (target, fstype, source, o.data, o.set | o.recursive_set, o.propagation, o.copy_up, strict)
    return Filesystem(*options)


def _inside_proc(target: str) -> bool:
    return _clean(target).startswith("/proc/")


def _identity(config: Json, linux: Json, unshare: int, own: int) -> list[Op]:
    ops: list[Op] = []
    for name in ("hostname", "domainname"):
        if config.get(name) and not own & k.CLONE_NEWUTS:
            raise InvalidArgument(f"{name} needs a uts namespace of its own")
    asked = (linux.get("sysctl") or {}).get("kernel.domainname")
    if config.get("domainname") and asked not in (None, config["domainname"]):
        raise InvalidArgument("domainname and the sysctl kernel.domainname differ")
    if unshare & k.CLONE_NEWNET:
        ops.append(LoopbackUp())
    if config.get("hostname"):
        ops.append(Hostname(config["hostname"]))
    if config.get("domainname"):
        ops.append(Domainname(config["domainname"]))
    for key, value in (linux.get("sysctl") or {}).items():
        sysctl.check(key, own)
        ops.append(Sysctl(key, str(value)))
    return ops


def _root(config: Json, linux: Json, root: Root) -> Root:
    readonly = bool((config.get("root") or {}).get("readonly"))
    name = linux.get("rootfsPropagation") or ""
    return root._replace(readonly=readonly, propagation=mountopts.propagation(name) if name else 0)


def _time_offsets(raw: Json) -> tuple[tuple[str, int, int], ...]:
    for clock in raw:
        if clock not in ("monotonic", "boottime"):
            raise InvalidArgument(f"linux.timeOffsets: unknown clock {clock!r}")
    return tuple((clock, int(o.get("secs", 0)), int(o.get("nanosecs", 0))) for clock, o in raw.items())


def _clean(path: str) -> str:
    return "/" + "/".join(names_of(path))
