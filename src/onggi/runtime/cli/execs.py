"""exec: one more process in a running container, with the container's own rights and filter."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Any

from onggi.errors import Conflict, InvalidArgument, KernelError
from onggi.kernel import capabilities, door, features, process, syscalls
from onggi.kernel.cgroups import Group
from onggi.kernel.files import write_atomic
from onggi.kernel.paths import names_of
from onggi.runtime import channel, scheduling
from onggi.runtime.cli import bundle, console, report
from onggi.runtime.cli.context import Context
from onggi.runtime.cli.options import Values
from onggi.runtime.cli.state import Directory, State, status
from onggi.runtime.join import Target, fork_joined
from onggi.runtime.plan import Process
from onggi.runtime.process import compile_process

Json = Any
FAILED = 255


def execute(context: Context, options: Values, arguments: list[str]) -> int:
    """Run a process; its exit code, or 0 when detached."""
    if not arguments:
        raise InvalidArgument("expected a container ID and a program")
    directory = Directory(context.root, arguments[0])
    state = directory.load()
    word = status(directory, state, context.hierarchies())
    if word not in ("running", "created"):
        raise Conflict(f"cannot exec in a container that is not running: {state.id} is {word}")
    config = directory.config()
    raw = _process(config["process"], options, arguments[1:])
    sets = features.probe().capabilities
    compiled = compile_process(raw, sets, bundle.seccomp_of(config))
    joined = _Exec(context, state, scheduling.with_linux(compiled, config.get("linux") or {}), options)
    size = raw.get("consoleSize") or {}
    return joined.run(_may_trace(config), (int(size.get("height", 0)), int(size.get("width", 0))))


def _process(own: Json, options: Values, args: list[str]) -> Json:
    """The process to run: a document given whole, or the container's own with what the options change."""
    if "process" in options:
        raw = dict(bundle.read_json(options.text("process")))
    else:
        raw = {key: value for key, value in own.items() if key not in ("consoleSize", "terminal")}
    if args:
        raw["args"] = args
    elif "process" not in options:
        raw["args"] = []
    raw["env"] = _merge(raw.get("env") or [], options.many("env"))
    raw["cwd"] = options.text("cwd") or raw.get("cwd") or "/"
    if "user" in options:
        raw["user"] = _user(options.text("user"))
    groups = [_number(text, "additional-gids") for text in options.many("additional-gids")]
    if groups:
        raw["user"] = {**(raw.get("user") or {}), "additionalGids": groups}
    if options.flag("tty"):
        raw["terminal"] = True
    if options.flag("no-new-privs"):
        raw["noNewPrivileges"] = True
    for option, key in (("apparmor", "apparmorProfile"), ("process-label", "selinuxLabel")):
        if option in options:
            raw[key] = options.text(option)
    if "cap" in options:
        raw["capabilities"] = _with_capabilities(raw.get("capabilities") or {}, options.many("cap"))
    return raw


def _merge(env: list[str], more: list[str]) -> list[str]:
    names = {entry.partition("=")[0] for entry in more}
    return [entry for entry in env if entry.partition("=")[0] not in names] + more


def _user(text: str) -> Json:
    uid, colon, gid = text.partition(":")
    return {"uid": _number(uid, "user"), "gid": _number(gid, "user") if colon else 0}


def _number(text: str, option: str) -> int:
    if not text.isdigit():
        raise InvalidArgument(f"invalid value {text!r} for --{option}: not a number")
    return int(text)


def _with_capabilities(own: Json, names: list[str]) -> Json:
    added = capabilities.names(capabilities.mask(names))
    keys = ("bounding", "effective", "permitted")
    return {**own, **{key: sorted({*(own.get(key) or ()), *added}) for key in keys}}


def _may_trace(config: Json) -> bool:
    sets = config["process"].get("capabilities") or {}
    return "CAP_SYS_PTRACE" in (sets.get("bounding") or ())


class _Exec:
    def __init__(self, context: Context, state: State, joining: Process, options: Values) -> None:
        self.state, self.process, self.options = state, joining, options
        self.detach = options.flag("detach")
        self.console_socket = options.text("console-socket")
        if joining.terminal and self.detach and not self.console_socket:
            raise InvalidArgument("cannot allocate tty if runtime will detach without setting console socket")
        self.group = self._group(context.group(state))
        self.pid, self.master = 0, -1

    def _group(self, own: Group | None) -> Group | None:
        below = self.options.text("cgroup")
        if own is None or not below:
            return own
        names = names_of(below)
        group = Group(own.hierarchies, "/".join([own.path, *names]))
        if ".." in names or not group.exists():
            raise InvalidArgument(f"--cgroup: {below!r} is no group of container {self.state.id}")
        return group

    def run(self, may_trace: bool, size: tuple[int, int]) -> int:
        pidfd = process.pidfd_open(self.state.pid)
        if not process.alive(self.state.pid, self.state.started):
            raise Conflict("container not running")
        preserve = self.options.number("preserve-fds") or 0
        target = Target(pidfd, self.state.pid, may_trace, preserve, self.group)
        if not self.detach:
            # A process that a middle one forks into the PID namespace becomes ours to wait for.
            syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
            console.hold_signals()
        door.close()
        outer, inner = channel.pair()
        child = fork_joined(lambda: self.process, target, None, (outer, inner), size)
        inner.close()
        try:
            if not may_trace:
                self.pid = child
            if not self.group:
                channel.tell(outer, channel.PLACED)
            self._converse(outer)
        except BaseException:
            self._undo(child)
            raise
        if may_trace:
            os.waitpid(child, 0)
        self._write_pid()
        return 0 if self.detach else console.Foreground(self.pid, self.master).wait()

    def _converse(self, outer: socket.socket) -> None:
        """Until exec succeeded; raises the failure."""
        while True:
            kind, payload, fds = channel.receive(outer)
            if kind == channel.TERMINAL:
                self._terminal(fds[0])
            elif kind == channel.PID:
                self.pid = int(payload)
            elif kind == channel.FAILED:
                raise report.failed(channel.parse_failure(payload), self.process.args[0])
            elif self.pid:
                return
            else:
                raise KernelError("exec", 3, self.state.id)  # ESRCH: it was killed

    def _terminal(self, master: int) -> None:
        if self.console_socket:
            console.send(self.console_socket, master)
        else:
            self.master = master

    def _write_pid(self) -> None:
        path = self.options.text("pid-file")
        if path:
            write_atomic(os.path.abspath(path), str(self.pid).encode(), 0o644, durable=False)

    def _undo(self, child: int) -> None:
        for pid in {child, self.pid} - {0}:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)
