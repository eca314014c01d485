"""Starts the own engine when the first command needs it.

The daemon is told to write to a pipe when it serves (``--ready-fd``); its standard error is another pipe, so
that a birth that fails can say why. Of several starters at once the daemon's own lock chooses one; the others
leave with status 0 and their callers connect to the winner.
"""

from __future__ import annotations

import os

from onggi.client.errors import Unreachable
from onggi.interpreter import engine_command, engine_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

START_TIMEOUT_MS = 60_000
READY_FD = 3
_KEPT = ("PATH", "TZ", "LANG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def start_engine(env: Mapping[str, str], exec_root: str) -> None:
    """Start onggid and return when it serves, or when another starter won.

    Raises Unreachable with the reason and the remedy.
    """
    if os.geteuid() != 0:
        raise Unreachable("the engine is not running and only root can start it; run the command with sudo")
    ready, ready_end = os.pipe2(os.O_CLOEXEC)
    errors, errors_end = os.pipe2(os.O_CLOEXEC)
    try:
        pid = _spawn(env, ready_end, errors_end)
    finally:
        os.close(ready_end)
        os.close(errors_end)
    try:
        serves, words = _await_ready(ready, errors)
    finally:
        os.close(ready)
        os.close(errors)
    if not serves:
        _explain(pid, words, exec_root)


def _spawn(env: Mapping[str, str], ready_end: int, errors_end: int) -> int:
    argv = engine_command("--on-demand", "--ready-fd", str(READY_FD))
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, errors_end, 2),
        (os.POSIX_SPAWN_DUP2, ready_end, READY_FD),
    ]
    # It stays readable in /proc/PID/environ of the daemon: nothing else of the caller goes with it.
    kept = [name for name in env if name.startswith("ONGGI_") or name.upper() in _KEPT]
    handed_on = engine_environment({name: env[name] for name in kept})
    return os.posix_spawn(argv[0], argv, handed_on, file_actions=actions, setsid=False)


def _await_ready(ready: int, errors: int) -> tuple[bool, str]:
    """Wait for the ready byte; returns whether it came and what was written to standard error."""
    from select import POLLHUP, POLLIN, poll

    poller, words = poll(), b""
    poller.register(ready, POLLIN | POLLHUP)
    poller.register(errors, POLLIN | POLLHUP)
    while events := poller.poll(START_TIMEOUT_MS):
        for fd, _ in events:
            data = os.read(fd, 4096)
            if fd == ready:
                words += b"" if data else _drain(errors)
                return bool(data), words.decode("utf-8", "replace")
            words = (words + data)[-65536:]
            if not data:
                poller.unregister(errors)
    raise Unreachable(f"the engine did not get ready within {START_TIMEOUT_MS // 1000} s; see its log")


def _drain(fd: int) -> bytes:
    os.set_blocking(fd, False)
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""


def _explain(pid: int, words: str, exec_root: str) -> None:
    """Raise Unreachable unless the daemon left with status 0 because another one serves."""
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) == 0:
        return
    lines = [line for line in words.splitlines() if line.strip()] or _log_tail(exec_root)
    reason = lines[-1].strip() if lines else f"exit status {os.waitstatus_to_exitcode(status)}"
    raise Unreachable(f"the engine failed to start: {reason}; 'onggi doctor' shows what this machine lacks")


def _log_tail(exec_root: str) -> list[str]:
    try:
        with open(os.path.join(exec_root, "onggid.log"), encoding="utf-8", errors="replace") as log:
            return [line for line in log.read()[-4096:].splitlines() if line.strip()]
    except OSError:
        return []
