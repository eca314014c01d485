"""The birth of onggid: a clean world of its own, whoever called it first (DECISIONS 8).

What has to be done is a plan of named steps (pure), each of which may fail alone. An engine that serves in
the foreground belongs to its supervisor and keeps its session, streams, limits and priorities; one that was
started on demand or detached keeps nothing of its caller.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from onggi.errors import KernelError
from onggi.kernel import syscalls
from onggi.kernel.cgroups import Group, Hierarchies
from onggi.kernel.process import close_all_but

Mode = Literal["foreground", "clean"]
Limits = dict[str, tuple[int, int]]

# Everything else in the environment is the caller's business: it must not reach helpers, logs or containers.
_OWN = ("ONGGI_ROOT", "ONGGI_EXEC_ROOT", "ONGGI_CGROUP_PARENT", "ONGGI_HERE", "ONGGI_IDLE_TIMEOUT")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
KEPT = (*_OWN, *_PROXIES, "NOTIFY_SOCKET", "TZ")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OOM_SCORE_ADJ = -500
LIMIT_NAMES = tuple(sorted({name for name in dir(resource) if name.startswith("RLIMIT_")} - {"RLIMIT_OFILE"}))


class Birth(msgspec.Struct, frozen=True):
    """What is remembered of it: limits that containers start from, and steps this machine did not permit."""

    rlimits: Limits
    failures: tuple[str, ...] = ()


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What a birth needs to know: where a clean one's output goes, and which descriptors stay open."""

    mode: Mode
    log_path: str
    cgroup: str
    hierarchies: Hierarchies
    keep_fds: tuple[int, ...] = ()


def clean_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The allow-listed part of a caller's environment."""
    kept = {name: env[name] for name in KEPT if env.get(name)}
    return {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", **kept}


def plan(world: World) -> list[tuple[str, Callable[[], None]]]:
    """The steps of a birth, in order."""
    everyone: list[tuple[str, Callable[[], None]]] = [
        ("name", lambda: syscalls.set_name("onggid")),
        ("chdir /", lambda: os.chdir("/")),
        ("umask 022", lambda: (os.umask(0o022), None)[1]),
        ("reset signals", _reset_signals),
        ("close descriptors", lambda: _close_others(world.keep_fds)),
        ("clean environment", _clean_own_environment),
    ]
    caller_free: list[tuple[str, Callable[[], None]]] = [
        ("setsid", _new_session),
        ("stdio to the log", lambda: _redirect(world.log_path)),
        ("reset nice value", lambda: os.setpriority(os.PRIO_PROCESS, 0, 0)),
        ("reset scheduler", lambda: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))),
        ("reset affinity", lambda: os.sched_setaffinity(0, os.sched_getaffinity(1))),
        ("reset limits", lambda: _set_limits(limits_of(1))),
        ("new session keyring", syscalls.join_session_keyring),
    ]
    last: list[tuple[str, Callable[[], None]]] = [
        ("set oom_score_adj", _protect_from_oom),
        # An engine under systemd stays in its unit's group: its supervisor counts and ends it there.
        ("move to the engine's cgroup", lambda: _move(world) if "NOTIFY_SOCKET" not in os.environ else None),
    ]
    return [*everyone, *(caller_free if world.mode == "clean" else []), *last]


def be_born(world: World) -> Birth:
    """Execute the plan. What this machine does not permit is remembered, not fatal."""
    failures = []
    for name, step in plan(world):
        try:
            step()
        except OSError as error:
            failures.append(f"{name}: {(error.strerror or str(error)).lower()}")
        except (KernelError, ValueError) as error:
            failures.append(f"{name}: {error}")
    limits = limits_of(os.getpid())
    _raise_nofile()
    return Birth(limits, tuple(failures))


def limits_of(pid: int) -> Limits:
    """All resource limits of a process, (soft, hard) by name such as ``RLIMIT_NOFILE``; -1 is unlimited."""
    return {name: resource.prlimit(pid, getattr(resource, name)) for name in LIMIT_NAMES}


def _new_session() -> None:
    # The leader of a process group may not: then it leads its own group already, away from the caller's.
    if os.getpgrp() != os.getpid():
        os.setsid()


def _redirect(log_path: str) -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)


def _reset_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGINT}:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a client that goes away is an error value, not our death
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _close_others(keep: tuple[int, ...]) -> None:
    close_all_but(keep)
    for fd in keep:
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)


def _clean_own_environment() -> None:
    clean = clean_environment(os.environ)
    os.environ.clear()
    os.environ.update(clean)


def _set_limits(wanted: Limits) -> None:
    for name, (soft, hard) in wanted.items():
        number = getattr(resource, name)
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError):  # no CAP_SYS_RESOURCE: as far as our own hard limit goes
            own = resource.getrlimit(number)[1]
            resource.setrlimit(number, (_lower(soft, own), _lower(hard, own)))


def _lower(one: int, other: int) -> int:
    if resource.RLIM_INFINITY in (one, other):
        return max(one, other)
    return min(one, other)


def _raise_nofile() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _protect_from_oom() -> None:
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(_OOM_SCORE_ADJ))


def _move(world: World) -> None:
    group = Group(world.hierarchies, world.cgroup)
    group.create()
    group.place(os.getpid())
