"""Hooks of config.json: programs run at fixed points of a container's life with its state on standard input.

Source: runtime-spec config.md#posix-platform-hooks. prestart, createRuntime, poststart and poststop run
outside; createContainer inside before the root changes; startContainer inside, with the program's rights.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from onggi.errors import InvalidArgument, KernelError
from onggi.kernel import process

Json = Any
NAMES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


class Hook(NamedTuple):
    """One program. ``env`` None means the caller's environment; ``timeout`` is in seconds, 0 for none."""

    path: str
    args: tuple[str, ...]
    env: tuple[str, ...] | None
    timeout: float


def parse(config: Json) -> dict[str, tuple[Hook, ...]]:
    """The hooks of a bundle by point; raises InvalidArgument."""
    raw = config.get("hooks") or {}
    return {name: tuple(_hook(name, entry) for entry in raw.get(name) or ()) for name in NAMES}


def _hook(name: str, raw: Json) -> Hook:
    path = raw.get("path") or ""
    if not path.startswith("/"):
        raise InvalidArgument(f"hooks.{name}: path {path!r} is not absolute")
    timeout = raw.get("timeout")
    if timeout is not None and timeout <= 0:
        raise InvalidArgument(f"hooks.{name}: timeout {timeout!r} is not positive")
    env = raw.get("env")
    return Hook(path, tuple(raw.get("args") or (path,)), None if env is None else tuple(env), timeout or 0)


def run(
    name: str,
    hooks: Sequence[Hook],
    state: Json,
    directory: str = "",
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Run hooks in order, in ``directory``; the first that fails raises KernelError or InvalidArgument."""
    if hooks and directory:
        with contextlib.suppress(OSError):
            os.chdir(directory)
    for hook in hooks:
        _run(name, hook, json.dumps(state).encode(), environment)


def _run(name: str, hook: Hook, state: bytes, environment: Mapping[str, str]) -> None:
    env = environment if hook.env is None else dict(entry.partition("=")[::2] for entry in hook.env)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    # Blocked before the child exists: its end must be remembered until it is waited for.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        pid = process.spawn(hook.args, env=env, fds={0: reading}, executable=hook.path, setsid=True)
        os.close(reading)
        reading = -1
        _feed(writing, state)
        code = _wait(pid, hook.timeout)
    except KernelError as error:
        raise InvalidArgument(f"error running {name} hook {hook.path}: {os.strerror(error.errno)}") from None
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        if reading >= 0:
            os.close(reading)
    if code is None:
        raise InvalidArgument(f"error running {name} hook {hook.path}: timeout of {hook.timeout} s exceeded")
    if code:
        raise InvalidArgument(f"error running {name} hook {hook.path}: exit status {code}")


def _feed(fd: int, state: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # a hook need not read its state
        os.write(fd, state)
    os.close(fd)


def _wait(pid: int, timeout: float) -> int | None:
    deadline = time.monotonic() + timeout
    while True:
        found, status = os.waitpid(pid, os.WNOHANG if timeout else 0)
        if found:
            return os.waitstatus_to_exitcode(status)
        left = deadline - time.monotonic()
        if left <= 0:
            os.killpg(pid, signal.SIGKILL)  # with what it started
            os.waitpid(pid, 0)
            return None
        signal.sigtimedwait([signal.SIGCHLD], left)
