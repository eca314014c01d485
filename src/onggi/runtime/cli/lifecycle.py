"""create, run, start, kill, delete, pause and resume (runtime.md#lifecycle)."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import Any

from onggi.errors import Conflict, InvalidArgument, KernelError, NotFound, OnggiError, Unsupported
from onggi.kernel import process
from onggi.kernel.cgroups import Group
from onggi.kernel.files import read_small, write_atomic
from onggi.runtime.cli import birth, bundle, hooks, report
from onggi.runtime.cli.console import Foreground, hold_signals
from onggi.runtime.cli.context import Context
from onggi.runtime.cli.options import Values
from onggi.runtime.cli.state import Directory, State, all_ids, public, runs, status

Json = Any
_KILL_WAIT_MS = 10_000
_THAW_AFTER_MS = 100


def create(context: Context, options: Values, arguments: list[str]) -> int:
    """Make a container that waits to be started."""
    _make(context, options, context.directory(arguments), held=True)
    return 0


def run(context: Context, options: Values, arguments: list[str]) -> int:
    """create and start; without --detach also wait and delete. Exits with the program's code."""
    directory = context.directory(arguments)
    detach = options.flag("detach")
    if not detach:
        hold_signals()
    made = _make(context, options, directory, held=False)
    _poststart(context, directory, made.state)
    if detach:
        return 0
    code = Foreground(made.state.pid, made.master).wait()
    if not options.flag("keep"):
        with directory.locked():
            _destroy(context, directory, made.state)
    return code


def _make(context: Context, options: Values, directory: Directory, held: bool) -> birth.Made:
    where = os.path.abspath(options.text("bundle") or ".")
    config = bundle.load(where, options.text("config"))
    config["process"] = _environment(config.get("process") or {})
    state = _record(config, where, directory.id)
    found = context.hierarchies()
    group = Group(found, bundle.cgroup_path(config, directory.id)) if found.mounts else None
    state = state._replace(cgroup=group.path if group else "")
    plan = bundle.compile_bundle(config, where, group)
    if plan.init:
        raise Unsupported("annotation org.onggi.init: the command line runtime has no init of its own")
    plan = plan._replace(
        keyring=not options.flag("no-new-keyring"),
        pivot=not options.flag("no-pivot"),
        preserve_fds=(options.number("preserve-fds") or 0) + int(os.environ.get("LISTEN_FDS") or 0),
    )
    order = birth.Order(
        directory, state, plan, hooks.parse(config), group, held, options.text("console-socket"), context.log
    )
    _check_terminal(order, held or options.flag("detach"))
    return _born(order, config, options.text("pid-file"))


def _environment(raw: Json) -> Json:
    """Descriptors of systemd's socket activation are for the program, which is process 1 of its own."""
    if not os.environ.get("LISTEN_FDS"):
        return raw
    env = [entry for entry in raw.get("env") or () if not entry.startswith(("LISTEN_FDS=", "LISTEN_PID="))]
    return {**raw, "env": [*env, f"LISTEN_FDS={os.environ['LISTEN_FDS']}", "LISTEN_PID=1"]}


def _record(config: Json, where: str, container_id: str) -> State:
    annotations = {str(key): str(value) for key, value in (config.get("annotations") or {}).items()}
    version = config["ociVersion"]
    root = bundle.rootfs(config, where)
    return State(container_id, where, root, report.timestamp(), version, annotations, "", os.geteuid())


def _check_terminal(order: birth.Order, unattended: bool) -> None:
    if order.plan.process.terminal and unattended and not order.console_socket:
        raise InvalidArgument("cannot allocate tty if runtime will detach without setting console socket")
    if order.console_socket and not order.plan.process.terminal:
        raise InvalidArgument("cannot use console socket if runtime will not detach or allocate tty")


def _born(order: birth.Order, config: Json, pid_file: str) -> birth.Made:
    directory = order.directory
    directory.make()
    try:
        with directory.locked():
            directory.save(order.state)
            directory.save_config(config)
            made = birth.make(order)
            if pid_file:
                write_atomic(os.path.abspath(pid_file), str(made.state.pid).encode(), 0o644, durable=False)
            return made
    except BaseException:
        directory.remove()
        raise


def start(context: Context, _: Values, arguments: list[str]) -> int:
    """Let a created container run."""
    directory = context.directory(arguments)
    with directory.locked():
        state = directory.load()
        word = status(directory, state, context.hierarchies())
        if word == "stopped":
            raise Conflict("cannot start a container that has stopped")
        if word != "created":
            raise Conflict("cannot start an already running container")
        program = (directory.config()["process"]["args"] or [""])[0]
        failure = birth.release(directory)
        if failure:
            raise report.failed(failure, program)
        _poststart(context, directory, state)
    return 0


def _poststart(context: Context, directory: Directory, state: State) -> None:
    """A container whose poststart hook fails is stopped and removed (runtime.md#lifecycle, step 10)."""
    found = hooks.parse(directory.config())
    try:
        hooks.run("poststart", found["poststart"], public(state, "running"), state.bundle)
    except OnggiError:
        _destroy(context, directory, state)
        raise


def kill(context: Context, options: Values, arguments: list[str]) -> int:
    """Send a signal (default TERM) to the first process, or with --all to every one."""
    if not 1 <= len(arguments) <= 2:
        raise InvalidArgument("expected a container ID and a signal")
    number = parse_signal(arguments[1] if len(arguments) == 2 else "TERM")
    directory = Directory(context.root, arguments[0])
    state = directory.load()
    if options.flag("all"):
        _signal_all(context, state, number)
    elif not runs(state):
        raise Conflict("container not running")
    else:
        _signal(state, number)
    return 0


def parse_signal(text: str) -> int:
    """A signal by number or by name, with or without SIG; raises InvalidArgument."""
    name = text.upper().removeprefix("SIG")
    if name.isdigit() and 0 < int(name) < signal.NSIG:
        return int(name)
    base, sign, offset = name.partition("+" if "+" in name else "-")
    if base in ("RTMIN", "RTMAX") and (not sign or offset.isdigit()):
        number = int(getattr(signal, f"SIG{base}")) + int(f"{sign or '+'}{offset or 0}")
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
    elif f"SIG{name}" in signal.Signals.__members__:
        return int(signal.Signals[f"SIG{name}"])
    raise InvalidArgument(f"unknown signal {text!r}")


def _signal(state: State, number: int) -> None:
    pidfd = process.pidfd_open(state.pid)
    try:
        # The pid may have been given to somebody else since it was recorded; the descriptor cannot.
        if not runs(state):
            raise Conflict("container not running")
        process.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def _signal_all(context: Context, state: State, number: int) -> None:
    group = context.group(state)
    if group is None:
        if runs(state):
            _signal(state, number)
        return
    for pid in group.pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def delete(context: Context, options: Values, arguments: list[str]) -> int:
    """Remove a stopped or created container; with --force any, and none is no error."""
    force = options.flag("force")
    if options.flag("regex"):
        arguments = _matching(context, arguments)
    elif len(arguments) != 1:
        raise InvalidArgument(f"expected one container ID, got {len(arguments)} arguments")
    for container_id in arguments:
        try:
            _delete(context, Directory(context.root, container_id), force)
        except NotFound:
            if not force:
                raise
    return 0


def _matching(context: Context, patterns: list[str]) -> list[str]:
    import re

    compiled = [re.compile(pattern) for pattern in patterns]
    return [name for name in all_ids(context.root) if any(pattern.search(name) for pattern in compiled)]


def _delete(context: Context, directory: Directory, force: bool) -> None:
    with directory.locked():
        try:
            state = directory.load()
        except NotFound:
            if force:
                directory.remove()  # its creator was killed before the first record
            raise
        word = status(directory, state, context.hierarchies())
        if word not in ("stopped", "created") and not force:
            raise Conflict(f"cannot delete container {state.id} that is not stopped: {word}")
        _destroy(context, directory, state)


def _destroy(context: Context, directory: Directory, state: State) -> None:
    """Kill what is left, remove the group, run poststop, forget."""
    group = context.group(state)
    if runs(state):
        _kill_first(state, group)
    if group:
        group.kill()
        group.remove()
        _remove_parent(group)
    found = hooks.parse(directory.config())
    for hook in found["poststop"]:
        # A failure is logged and the next one runs (runtime.md#lifecycle, step 13).
        try:
            hooks.run("poststop", [hook], public(state, "stopped"), state.bundle)
        except OnggiError as error:
            context.log.warning(str(error))
    directory.remove()


def _remove_parent(group: Group) -> None:
    """Remove the group that we made above those of containers that named none, with the last of them."""
    if group.path.startswith(bundle.OWN_PARENT):
        for mount in group.hierarchies.mounts:
            with contextlib.suppress(OSError):
                os.rmdir(mount.path + bundle.OWN_PARENT.rstrip("/"))


def _kill_first(state: State, group: Group | None) -> None:
    pidfd = process.pidfd_open(state.pid)
    try:
        if not runs(state):
            return
        process.pidfd_send_signal(pidfd, signal.SIGKILL)
        if group and group.frozen():
            group.thaw()
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(_THAW_AFTER_MS):
            _thaw_elsewhere(state.pid, group)
            if not poll.poll(_KILL_WAIT_MS):
                raise KernelError("kill", 16, state.id)  # EBUSY
    finally:
        os.close(pidfd)


def _thaw_elsewhere(pid: int, group: Group | None) -> None:
    """A v1 freezer group that somebody else moved the process into also holds back SIGKILL."""
    mount = group.hierarchies.of("freezer") if group else None
    if mount is None or mount.version != 1:
        return
    for line in read_small(f"/proc/{pid}/cgroup").decode().splitlines():
        _, names, path = line.split(":", 2)
        if names == "freezer" and path not in ("/", group.path):  # type: ignore[union-attr]
            Group(group.hierarchies, path).thaw()  # type: ignore[union-attr]


def pause(context: Context, _: Values, arguments: list[str]) -> int:
    """Freeze every process of a running container."""
    directory = context.directory(arguments)
    with directory.locked():
        group = _group_in(context, directory, ("running", "created"))
        group.freeze()
    return 0


def resume(context: Context, _: Values, arguments: list[str]) -> int:
    """Let a paused container go on."""
    directory = context.directory(arguments)
    with directory.locked():
        _group_in(context, directory, ("paused",)).thaw()
    return 0


def _group_in(context: Context, directory: Directory, allowed: tuple[str, ...]) -> Group:
    state = directory.load()
    word = status(directory, state, context.hierarchies())
    if word not in allowed:
        raise Conflict(f"container {state.id} is not {allowed[0]}: {word}")
    group = context.group(state)
    if group is None:
        raise Unsupported("pausing needs control groups, which --cgroup-manager=disabled leaves out")
    return group
