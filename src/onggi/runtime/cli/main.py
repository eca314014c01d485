"""``onggi-runtime``: tables of options and commands, and the one place where errors become words and codes.

Exit codes as runc's: 1 for an error, 255 for one of exec, otherwise the program's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from onggi.errors import InvalidArgument, OnggiError, Unsupported
from onggi.runtime.cli import bundle, execs, lifecycle, sealing, update, views
from onggi.runtime.cli.context import DEFAULT_ROOT, Command, Context
from onggi.runtime.cli.options import Option, Values, parse, usage
from onggi.runtime.cli.report import Log
from onggi.version import VERSION

PROGRAM = "onggi-runtime"
_GLOBAL = (
    Option("root", value="DIR", help=f"where state is kept (default {DEFAULT_ROOT})"),
    Option("log", value="FILE", help="where errors are written as well"),
    Option("log-format", value="FORMAT", help="text (default) or json"),
    Option("log-level", value="LEVEL", help="error, warning (default) or debug"),
    Option("debug", help="write every step to the log"),
    Option("cgroup-manager", value="NAME", help="cgroupfs (default) or disabled"),
    Option("systemd-cgroup", help="refused: there is no support for systemd's groups"),
    Option("rootless", value="WORD", help="auto or false"),
    Option("version", "v", help="print the version"),
    Option("help", "h", help="print this text"),
)
_HELP = Option("help", "h", help="print this text")
_BUNDLE = Option("bundle", "b", "DIR", help="the bundle (default: the working directory)")
_TERMINAL = (
    Option("console-socket", value="SOCKET", help="unix socket that gets the terminal's master"),
    Option("pid-file", value="FILE", help="write the process's pid there"),
    Option("preserve-fds", value="N", help="descriptors from 3 on that the program inherits"),
)
_MAKE = (
    _BUNDLE,
    Option("config", "f", "FILE", help="the configuration's name in the bundle (default config.json)"),
    *_TERMINAL,
    Option("no-pivot", help="move the root instead of pivot_root, for a root on a ramdisk"),
    Option("no-new-keyring", help="keep the caller's session keyring"),
)
_DETACH = Option("detach", "d", help="do not wait")
_FORMAT = Option("format", "f", "FORMAT", help="table (default) or json")
_EXEC = (
    Option("process", "p", "FILE", help="the whole process as JSON"),
    _DETACH,
    Option("tty", "t", help="with a terminal"),
    *_TERMINAL,
    Option("cwd", value="DIR", help="working directory"),
    Option("env", "e", "NAME=VALUE", many=True, help="a variable"),
    Option("user", "u", "UID[:GID]", help="ids, numbers"),
    Option("additional-gids", "g", "GID", many=True, help="a supplementary group"),
    Option("cap", "c", "NAME", many=True, help="one more capability"),
    Option("no-new-privs", help="no privileges through exec"),
    Option("apparmor", value="PROFILE", help="AppArmor profile"),
    Option("process-label", value="LABEL", help="SELinux label"),
    Option("cgroup", value="PATH", help="a group below the container's own"),
)


def _refused(_: Context, __: Values, ___: list[str]) -> int:
    raise Unsupported("this command is not supported by onggi-runtime")


COMMANDS = {
    "create": Command("make a container that waits for start", "CONTAINER", _MAKE, lifecycle.create),
    "start": Command("let a created container run", "CONTAINER", (), lifecycle.start),
    "run": Command(
        "create and start a container",
        "CONTAINER",
        (*_MAKE, _DETACH, Option("keep", help="do not delete it at the end")),
        lifecycle.run,
    ),
    "state": Command("print a container's state", "CONTAINER", (), views.state),
    "kill": Command(
        "send a signal", "CONTAINER [SIGNAL]", (Option("all", "a", help="to every process"),), lifecycle.kill
    ),
    "delete": Command(
        "remove a container",
        "CONTAINER",
        (
            Option("force", "f", help="kill it first if it runs"),
            Option("regex", "r", help="every container whose id matches"),
        ),
        lifecycle.delete,
    ),
    "exec": Command("run another process in a container", "CONTAINER cmd", _EXEC, execs.execute),
    "list": Command("print containers", "", (_FORMAT, Option("quiet", "q", help="only ids")), views.list_),
    "ps": Command("print a container's processes", "CONTAINER", (_FORMAT,), views.ps),
    "pause": Command("freeze a container", "CONTAINER", (), lifecycle.pause),
    "resume": Command("let a paused container go on", "CONTAINER", (), lifecycle.resume),
    "update": Command("change a container's limits", "CONTAINER", update.OPTIONS, update.update),
    "features": Command("print what this runtime implements", "", (), views.features),
    "spec": Command(
        "write an example config.json", "", (_BUNDLE, Option("rootless", help="refused")), views.spec
    ),
    "plan": Command("print what starting a bundle would do", "BUNDLE", (), views.plan),
    "events": Command("refused", "CONTAINER", (), _refused),
    "checkpoint": Command("refused", "CONTAINER", (), _refused),
    "restore": Command("refused", "CONTAINER", (), _refused),
}
_SEALED = ("create", "run", "exec")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    log = Log()
    name = ""
    try:
        given, rest = parse(_GLOBAL, words)
        log = Log(given.text("log"), given.text("log-format", "text"), _debugs(given))
        if given.flag("version"):
            return _version()
        if given.flag("help") or not rest:
            return _help(bool(given.flag("help")))
        name = rest[0]
        return _command(given, log, rest, words)
    except OnggiError as error:
        log.error(str(error))
    except OSError as error:
        log.error(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}".lower())
    return execs.FAILED if name == "exec" else 1


def _debugs(given: Values) -> bool:
    return given.flag("debug") or given.text("log-level") == "debug"


def _command(given: Values, log: Log, rest: list[str], words: list[str]) -> int:
    command = COMMANDS.get(rest[0])
    if command is None:
        raise InvalidArgument(f"unknown command {rest[0]!r}")
    values, arguments = parse((*command.options, _HELP), rest[1:])
    if values.flag("help"):
        sys.stdout.write(usage(PROGRAM, f"{rest[0]} {command.words}".rstrip(), (*command.options, _HELP)))
        return 0
    if command.run is _refused:
        raise Unsupported(f"{rest[0]} is not supported by {PROGRAM}")
    context = _context(given, log)
    log.debug(f"{PROGRAM} {rest[0]}")
    if rest[0] in _SEALED:
        sealing.seal(words)
    return command.run(context, values, arguments)


def _context(given: Values, log: Log) -> Context:
    if given.flag("systemd-cgroup"):
        raise Unsupported("--systemd-cgroup is not supported: containers are placed by cgroupfs")
    if given.text("rootless", "auto") not in ("auto", "false"):
        raise Unsupported("--rootless is not supported")
    manager = given.text("cgroup-manager", "cgroupfs")
    if manager == "systemd":
        raise Unsupported("--cgroup-manager=systemd is not supported: use cgroupfs or disabled")
    if manager not in ("cgroupfs", "disabled"):
        raise InvalidArgument(f"unknown cgroup manager {manager!r}")
    root = os.path.abspath(given.text("root") or DEFAULT_ROOT)
    return Context(root, log, manager)


def _version() -> int:
    sys.stdout.write(f"{PROGRAM} version {VERSION}\nspec: {bundle.VERSION}\n")
    return 0


def _help(asked: bool) -> int:
    lines = [usage(PROGRAM, "COMMAND [OPTION...]", _GLOBAL), "Commands:"]
    lines += [f"  {name:<12} {command.help}" for name, command in COMMANDS.items()]
    (sys.stdout if asked else sys.stderr).write("\n".join(lines) + "\n")
    return 0 if asked else 1
