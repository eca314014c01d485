"""Start a container: resolve, write, plan, launch; and unwind in reverse what a failure leaves."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Hashable
from typing import Any

import msgspec

from onggi.containers import files, hostdevices, records, repository, users, views
from onggi.containers.context import Context
from onggi.containers.failures import exit_code_of
from onggi.containers.host import Host
from onggi.containers.merge import command_line
from onggi.containers.model import Container, Health, State
from onggi.containers.mounting import Mounting, check_source
from onggi.containers.networking import Networking
from onggi.containers.request import ContainerConfig, HostConfig, joined
from onggi.containers.rootview import RootView, inherits, layers
from onggi.containers.runtime import Started, StartRequest, StdinMode
from onggi.containers.spec import Joined, SpecInput, allowed_capabilities, build_config
from onggi.containers.spec_resources import looks_at_devices
from onggi.containers.spec_security import parse_security_options
from onggi.containers.users import Identity
from onggi.errors import Conflict, InvalidArgument, OnggiError
from onggi.kernel.failpoints import failpoint
from onggi.logs.options import attributes
from onggi.logs.sending import SENDING, resolved
from onggi.networks.model import Sandbox
from onggi.store.rootfs import Rootfs
from onggi.store.snapshots import mount_again

Json = Any
_MOST_IDENTITIES, _ACCOUNTS = 1000, ("passwd", "group")
_ID, _SHORT_ID = b"\0id\0", b"\0short\0"  # no JSON text holds a control character


class Launcher:
    """One run from a stopped container to a running program; the caller holds the container's lock."""

    def __init__(self, context: Context, networking: Networking) -> None:
        self._context, self._mounting, self._networking = context, Mounting(context), networking
        self._identities: dict[tuple[object, ...], Identity] = {}
        self._known_host, self._generation = context.host, 0

    async def launch(self, container: Container) -> Started:
        """Start the next run.

        On failure the container is down again, with docker's exit code and the error.
        """
        before = container.state
        await views.clear(container, mounted=True)
        try:
            request = await self._request(container)
            container.state = State(running=True, started_ns=time.time_ns(), finished_ns=before.finished_ns)
            container.next_start_ns, container.stopped_by_user = 0, False
            # started_ns stands for what the monitor would say, should both it and this engine be lost.
            # The run counter is committed before the launch: a second launch of one run is a Conflict below.
            await self._save(container, request)
            request.attach = container.take_attachments()
            failpoint("containers.start.before_launch")
            self._networking.tell(container, "connect")
            started = await self._context.runtime.start(request)
            failpoint("containers.start.before_answer")
        except BaseException as error:
            await self._unwind(container, before, error)
            raise
        state = container.state
        state.pid, state.started_ns = started.pid, started.started_ns
        kept = before.health.log if before.health else []
        state.health = Health(log=kept) if has_probe(container) else None
        container.started_once.set()
        return started

    async def _save(self, container: Container, request: StartRequest) -> None:
        if container.stored or not container.spec.host_config.auto_remove:
            await self._context.save(container)
            return
        request.record = records.record_of(container)
        self._context.save_behind(container)

    async def _request(self, container: Container) -> StartRequest:
        context, spec = self._context, container.spec
        others = self._joined(spec.host_config)
        self._networking.links.check(container)
        rootfs = await context.rootfs(container)
        if container.run:
            mount_again(rootfs)
        sandbox = await self._networking.reserve(container)
        source = SpecInput(
            id=container.id,
            config=_with_secrets(container, self._networking.links.config_of(container)),
            host_config=spec.host_config,
            mounts=spec.mounts,
            identity=self.identity(container, rootfs, spec.config.user),
            host=context.host,
            files=self._files(container, sandbox),
            devices=hostdevices.look_up,
            joined=others,
            sources=await self._mounting.sources(container, spec.mounts),
        )
        _make_sources(container)
        log = log_request(container, context.host)
        if log["driver"] in SENDING:
            log["options"] = await asyncio.to_thread(resolved, log["options"])
        seccomp = self.seccomp(spec.host_config)
        container.run += 1
        return StartRequest(
            id=container.id,
            run=container.run,
            config=lambda: build_config(source),
            rootfs=rootfs,
            tty=spec.config.tty,
            stdin=_stdin(container),
            log=log,
            run_dir=context.run_directory(container),
            seccomp=seccomp,
            size=container.size or _size(spec.host_config),
            shape=self._shape(container, source.identity),
            wire=self._networking.wire_of(container, sandbox),
        )

    async def _unwind(self, container: Container, before: State, error: BaseException) -> None:
        container.drop_attachments()
        self._networking.release(container)
        if not before.restarting:  # as dockerd: else the code stays that of the run that has ended
            before.exit_code = exit_code_of(error)
        before.running = before.restarting = before.paused = False
        before.error = str(error)
        container.state = before
        if container.stored or not container.spec.host_config.auto_remove:
            await self._context.save(container)

    def _shape(self, container: Container, identity: Identity) -> Hashable:
        """What the configuration of this run follows from, with stand-ins for the id; None if from the
        machine's devices or from another container too.
        """
        host = container.spec.host_config
        if container.secret_variables:
            return None  # what is remembered by a shape is for all of that shape
        modes = (host.network_mode, host.ipc_mode, host.pid_mode)
        if any(map(joined, modes)) or looks_at_devices(host) or host.links:
            return None
        if container.spec.mounted_images:
            return None  # layers may come again in other directories
        text = repository.encode(container.spec).replace(container.id.encode(), _ID)
        # ``host`` facts are replaced as a whole when the engine is configured anew.
        return text.replace(container.id[:12].encode(), _SHORT_ID), identity, self._facts(self._context.host)

    def _facts(self, host: Host) -> int:
        if host is not self._known_host:
            self._known_host, self._generation = host, self._generation + 1
        return self._generation

    def _joined(self, host: HostConfig) -> Joined:
        """The processes whose namespaces are joined. Raises Conflict, InvalidArgument in dockerd's words."""
        network, ipc, pid = map(self._owner, (host.network_mode, host.ipc_mode, host.pid_mode))
        if network and not network.alive:
            raise Conflict(
                "cannot join network namespace of a non running container: "
                f"container {network.name} is {network.status}"
            )
        for other, what in ((ipc, "IPC"), (pid, "PID")):
            if other and not other.alive:
                raise Conflict(f"failed to join {what} namespace: container {other.id} is not running")
        if ipc and ipc.spec.host_config.ipc_mode not in ("shareable", "host"):
            raise InvalidArgument(
                f"failed to join IPC namespace: container {ipc.id}: non-shareable IPC (hint: use "
                "IpcMode:shareable for the donor container)"
            )
        return Joined(*(other.state.pid if other else 0 for other in (network, ipc, pid)))

    def _owner(self, mode: str) -> Container | None:
        """The container whose namespace is joined."""
        ref = joined(mode)
        return self._context.find(ref) if ref else None

    def _files(self, container: Container, sandbox: Sandbox | None) -> dict[str, str]:
        """The generated files; a joined network brings those of its owner."""
        context, host = self._context, container.spec.host_config
        owner = self._owner(host.network_mode)
        while owner and (further := self._owner(owner.spec.host_config.network_mode)):
            owner = further
        if owner:
            return files.paths(context.directory(owner.id))
        facts = self._networking.name_facts(container, sandbox)
        self._networking.links.tell_parents(container)
        written = files.write_files(context.directory(container.id), container.spec.config, host, facts)
        covered = {point.destination for point in container.spec.mounts}
        return {destination: path for destination, path in written.items() if destination not in covered}

    def identity(self, container: Container, rootfs: Rootfs, user: str) -> Identity:
        """Who ``user`` is in this root; answered from memory while that has the accounts of its image."""
        extra = container.spec.host_config.group_add or []
        key = (container.spec.image_id, user, tuple(extra), _stamp(rootfs))
        upper = rootfs.overlays[0].upper if rootfs.kind == "overlay" else None
        fresh = upper is not None and inherits(upper, "etc", _ACCOUNTS)
        if fresh and key in self._identities:
            return self._identities[key]
        with RootView(layers(rootfs)) as view:
            identity = users.resolve(
                user, view.read("etc/passwd") or b"", view.read("etc/group") or b"", extra
            )
        if fresh:
            if len(self._identities) >= _MOST_IDENTITIES:
                self._identities.clear()
            self._identities[key] = identity
        return identity

    def config_of(self, container: Container) -> ContainerConfig:
        """The configuration that further processes of a run have; raises OnggiError if a link is down."""
        return self._networking.links.config_of(container)

    def seccomp(self, host: HostConfig) -> bytes:
        """The filter of every process of a container, also of those that come after this engine's restart.

        Decided here and now, not by the client's word (rule R16).
        """
        profile = parse_security_options(host.security_opt).seccomp
        if profile == "unconfined" or (host.privileged and not profile):
            return b""
        return self._context.seccomp(profile, frozenset(allowed_capabilities(host, self._context.host)))


def _stamp(rootfs: Rootfs) -> tuple[tuple[int, int, int], ...]:
    """What tells one state of the machine's account files from another, for a view of the machine."""
    if rootfs.kind != "overlay" or rootfs.overlays[0].lowers[-1] != "/":
        return ()
    found = [os.stat(path) for path in ("/etc/passwd", "/etc/group") if os.path.exists(path)]
    return tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in found)


def _with_secrets(container: Container, config: ContainerConfig) -> ContainerConfig:
    if not container.secret_variables:
        return config
    return msgspec.structs.replace(config, env=[*config.env, *container.secret_variables])


def _make_sources(container: Container) -> None:
    """docker's ``-v`` makes a directory of a source that does not exist."""
    for point in container.spec.mounts:
        check_source(point)
        if point.type != "bind" or os.path.lexists(point.source):
            continue
        try:
            os.makedirs(point.source, 0o755, exist_ok=True)
        except OSError as error:
            reason = f"mkdir {error.filename}: {os.strerror(error.errno or 0).lower()}"
            raise OnggiError(f"error while creating mount source path '{point.source}': {reason}") from None


def _stdin(container: Container) -> StdinMode:
    config = container.spec.config
    if not config.open_stdin:
        return "null"
    return "once" if config.stdin_once else "open"


def _size(host: HostConfig) -> tuple[int, int] | None:
    return host.console_size if host.console_size != (0, 0) else None


def log_request(container: Container, host: Host) -> Json:
    """Driver, directory, options and per-record attributes of the container's log."""
    spec, log = container.spec, container.spec.host_config.log_config
    options = host.log_options_of(log.type, log.config)
    argv = command_line(spec.config)
    env = dict(entry.partition("=")[::2] for entry in spec.config.env)
    fields = {
        "ID": container.id[:12],
        "FullID": container.id,
        "Name": container.name,
        "ImageID": spec.image_id.removeprefix("sha256:")[:12],
        "ImageFullID": spec.image_id,
        "ImageName": spec.image,
        "DaemonName": "docker",
        "Command": " ".join(argv),
        "Hostname": os.uname().nodename,
        "ContainerID": container.id,
        "ContainerName": f"/{container.name}",
        "ContainerImageID": spec.image_id,
        "ContainerImageName": spec.image,
        "ContainerEntrypoint": argv[0],
    }
    beside = attributes(options, spec.config.labels, env, fields) if options else {}
    request = {"driver": log.type, "directory": spec.log_directory, "options": options, "attributes": beside}
    if log.type in SENDING:
        tag = beside.pop("tag", container.id[:12])
        source = {"id": container.id, "name": container.name, "image": spec.image, "tag": tag}
        return request | {"source": source}
    return request


def has_probe(container: Container) -> bool:
    """Whether a health check is configured and not switched off."""
    health = container.spec.config.healthcheck
    return bool(health and health.test and health.test[0] != "NONE")
