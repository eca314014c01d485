"""Becoming the container's user: the order of steps before exec, shared by run and exec.

With no_new_privs the filter is loaded last; without it, it needs CAP_SYS_ADMIN and is loaded before rights
are dropped.
"""

from __future__ import annotations

import binascii
import errno
import os
import resource
import signal
from collections.abc import Callable

from onggi.errors import KernelError, OnggiError
from onggi.kernel import capabilities, seccomp, syscalls
from onggi.kernel.paths import open_root, read_file_in
from onggi.runtime.plan import Process, Rlimit

_SIGNALS = tuple(n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP))


def set_rlimits(limits: tuple[Rlimit, ...]) -> None:
    """setrlimit(2); a hard limit the machine does not let us raise is clamped to what there is."""
    for limit in limits:
        try:
            resource.setrlimit(limit.resource, (limit.soft, limit.hard))
        except (ValueError, OSError):
            _, hard = resource.getrlimit(limit.resource)
            resource.setrlimit(limit.resource, (_lower(limit.soft, hard), _lower(limit.hard, hard)))


def _lower(asked: int, hard: int) -> int:
    if hard == resource.RLIM_INFINITY:
        return asked
    return hard if asked == resource.RLIM_INFINITY else min(asked, hard)


def enter_directory(path: str) -> None:
    """chdir(2), then make sure that the kernel can name where we are below our root (CVE-2024-21626)."""
    try:
        os.chdir(path)
        here = os.getcwd()
    except OSError as error:
        raise KernelError("chdir", error.errno or 0, path, "cwd") from None
    if not here.startswith("/"):
        raise KernelError("chdir", errno.ENOENT, path, "cwd")


def become(process: Process, last: Callable[[], None] = lambda: None) -> None:
    """Take the process's ids, capabilities, no_new_privs and seccomp filter; afterwards nothing but exec
    follows.

    ``last`` runs when ids cannot change any more and the filter is not yet loaded if it can be loaded late:
    the place to set PDEATHSIG.
    """
    program = binascii.a2b_base64(process.seccomp) if process.seccomp else b""
    early = program and not process.no_new_privileges
    capabilities.drop_bounding(process.capabilities.bounding)
    if early:
        seccomp.load(program, process.seccomp_flags)
    _change_ids(process)
    capabilities.apply(process.capabilities)
    last()
    if process.no_new_privileges:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if program and not early:
        seccomp.load(program, process.seccomp_flags)


def _change_ids(process: Process) -> None:
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    try:
        os.setgroups(process.groups)
        os.setresgid(process.gid, process.gid, process.gid)
        os.setresuid(process.uid, process.uid, process.uid)
    except OSError as error:
        raise KernelError("setresuid", error.errno or 0, f"{process.uid}:{process.gid}", "user") from None
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 0)


def find_program(name: str, env: tuple[str, ...]) -> str:
    """Where exec will find ``name``, by the container's own PATH; raises KernelError(ENOENT, EACCES or
    EISDIR).
    """
    if "/" in name:
        return _executable(name) or name
    path = next((entry[5:] for entry in reversed(env) if entry.startswith("PATH=")), "/bin:/usr/bin")
    denied = ""
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        try:
            if _executable(candidate):
                return candidate
        except KernelError as error:
            denied = denied or (candidate if error.errno == errno.EACCES else "")
    if denied:
        raise KernelError("exec", errno.EACCES, name, "exec")
    raise KernelError("exec", errno.ENOENT, name, "path")


def _executable(path: str) -> str:
    try:
        info = os.stat(path)
    except OSError as error:
        raise KernelError("stat", error.errno or 0, path, "exec") from None
    if info.st_mode & 0o170000 == 0o040000:
        raise KernelError("exec", errno.EISDIR, path, "exec")
    if not info.st_mode & 0o111:
        raise KernelError("exec", errno.EACCES, path, "exec")
    return path


def home_of(uid: int) -> str:
    """The home directory that the container's /etc/passwd gives a user, else ``/``."""
    root = open_root("/")
    try:
        text = read_file_in(root, "etc/passwd") or b""
    except OnggiError:
        return "/"
    finally:
        os.close(root)
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 6 and fields[2] == str(uid).encode():
            return os.fsdecode(fields[5]) or "/"
    return "/"


def leave_parents_loop() -> None:
    """First thing in a fork of a process with an event loop: no child's end wakes that loop from here.

    Python would complain of the closed descriptor on standard error, which is the container's by then.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def reset_signals() -> None:
    """All dispositions default, nothing blocked: Python ignores SIGPIPE and SIGXFSZ, and children inherit
    that.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
