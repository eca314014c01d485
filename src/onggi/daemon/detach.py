"""Engines in the background: ``--detach``, and the command that starts an on-demand engine again."""

from __future__ import annotations

import os
import select
import sys

import msgspec

from onggi.daemon.birth import clean_environment
from onggi.daemon.config import Config
from onggi.daemon.options import FLAGS, Options
from onggi.errors import Unavailable
from onggi.interpreter import engine_command, engine_environment
from onggi.kernel.files import write_atomic
from onggi.kernel.process import spawn

_READY_FD = 3
_START_TIMEOUT_MS = 60_000
_NOT_HANDED_ON = ("detach", "install", "validate", "ready-fd", "on-demand", "detached", "here")


class Relaunch(msgspec.Struct, frozen=True):
    """What ``<exec-root>/onggid.json`` holds while an on-demand engine lives: how to start it again."""

    argv: list[str]
    env: dict[str, str]


def relaunch_argv(settings: Config) -> Relaunch:
    """The command of an on-demand engine with these directories."""
    arguments = ["--on-demand", "--data-root", settings.data_root, "--exec-root", settings.exec_root]
    arguments += ["--cgroup-parent", settings.cgroup_parent, "--idle-timeout", str(settings.idle_timeout_s)]
    arguments += ["--here"] if settings.here else []
    names = {"ONGGI_ROOT", "ONGGI_EXEC_ROOT", "ONGGI_CGROUP_PARENT", "ONGGI_IDLE_TIMEOUT", "NOTIFY_SOCKET"}
    env = {name: value for name, value in clean_environment(os.environ).items() if name not in names}
    return Relaunch(engine_command(*arguments), engine_environment(env))


def write_relaunch(settings: Config, relaunch: Relaunch) -> None:
    """Leave the command for the launcher."""
    write_atomic(f"{settings.exec_root}/onggid.json", msgspec.json.encode(relaunch), durable=False)


def remove_relaunch(settings: Config) -> None:
    """Say that this engine ends on purpose."""
    try:
        os.unlink(f"{settings.exec_root}/onggid.json")
    except FileNotFoundError:
        pass  # a foreground engine has none


def detach(settings: Config, given: Options) -> int:
    """Start the engine in the background, wait until it serves, and print how to reach it."""
    ready, ready_end = os.pipe2(os.O_CLOEXEC)
    argv = engine_command(*_handed_on(given), "--detached", "--ready-fd", str(_READY_FD))
    argv += ["--here"] if settings.here else []
    try:
        # Standard error stays the caller's until birth, so that a failure is seen at once.
        pid = spawn(
            argv,
            env=engine_environment(clean_environment(os.environ)),
            fds={_READY_FD: ready_end},
            setsid=True,
        )
    finally:
        os.close(ready_end)
    try:
        _await_ready(ready, pid, settings)
    finally:
        os.close(ready)
    sys.stdout.write(f"export DOCKER_HOST=unix://{settings.unix_sockets[0]}\n")
    return 0


def _await_ready(ready: int, pid: int, settings: Config) -> None:
    readable = select.select([ready], [], [], _START_TIMEOUT_MS / 1000)[0]
    if readable and os.read(ready, 1):
        return
    log = f"{settings.exec_root}/onggid.log"
    if not readable:
        raise Unavailable(f"the engine (process {pid}) did not get ready in time: see {log}")
    raise Unavailable(f"the engine did not start: see above or {log}")


def _handed_on(given: Options) -> list[str]:
    words: list[str] = []
    for flag in FLAGS:
        value = given.given.get(flag.name)
        if value is None or flag.name in _NOT_HANDED_ON:
            continue
        values = value if isinstance(value, list) else [value]
        words += [f"--{flag.name}={_text(item)}" for item in values]
    return words


def _text(value: str | bool | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
