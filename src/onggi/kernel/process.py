"""Processes: who they are, how they are started and signalled without races."""

from __future__ import annotations

import _thread
import errno
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from onggi.errors import KernelError
from onggi.kernel import sealed, syscalls
from onggi.kernel.files import read_small

_STARTTIME_FIELD = 19  # of the fields after the command name in proc_pid_stat(5)


def boot_id() -> str:
    """The identity of this boot of the machine."""
    return read_small("/proc/sys/kernel/random/boot_id").decode().strip()


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; with the pid it names a process for ever. Raises
    KernelError(ESRCH).
    """
    try:
        text = read_small(f"/proc/{pid}/stat")
    except OSError:
        raise KernelError("start_time", errno.ESRCH, str(pid)) from None
    return int(text[text.rindex(b")") + 2 :].split()[_STARTTIME_FIELD])


def alive(pid: int, started: int) -> bool:
    """Whether the process that had ``pid`` at ``started`` still exists and is no zombie."""
    try:
        text = read_small(f"/proc/{pid}/stat")
    except OSError:
        return False
    fields = text[text.rindex(b")") + 2 :].split()
    return int(fields[_STARTTIME_FIELD]) == started and fields[0] not in (b"Z", b"X")


def pidfd_open(pid: int) -> int:
    """A descriptor that is readable when the process has ended, pidfd_open(2)."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise KernelError("pidfd_open", error.errno or 0, str(pid)) from None


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """pidfd_send_signal(2); raises KernelError(ESRCH) if the process has ended."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except OSError as error:
        raise KernelError("pidfd_send_signal", error.errno or 0) from None


def close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor from 3 on that is not in ``keep``."""
    first = 3
    for fd in sorted(set(keep)):
        if fd > first:
            syscalls.close_range(first, fd - 1)
        first = max(first, fd + 1)
    syscalls.close_range(first)


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    fds: Mapping[int, int] | None = None,
    executable: str | None = None,
    setsid: bool = False,
) -> int:
    """Start a program with posix_spawn(3) and return its pid: the only way the daemon makes processes.

    ``fds`` maps descriptors of the child to ours; everything else must be close-on-exec. All signals are
    default and unblocked in the child.
    """
    actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in (fds or {}).items()]
    every = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
    program = executable or argv[0]
    try:
        return os.posix_spawn(
            program,
            list(argv),
            dict(env),
            file_actions=actions,
            setsid=setsid,
            setsigmask=[],
            setsigdef=every,
        )
    except OSError as error:
        raise KernelError("posix_spawn", error.errno or 0, program) from None


CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}  # what programs of ours start with


class Finished(NamedTuple):
    """How a program ended: its exit code (or minus the signal) and what it said."""

    code: int
    output: bytes
    errors: bytes


_one_at_a_time = _thread.allocate_lock()


def reap() -> None:
    """Collect every ended child, unless ``run`` waits for one; it calls this when it is done."""
    if not _one_at_a_time.acquire(blocking=False):
        return
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return
    finally:
        _one_at_a_time.release()


def run(argv: Sequence[str], *, input: bytes = b"", env: Mapping[str, str] | None = None) -> Finished:
    """Run a short program to its end; blocking. Raises KernelError if it cannot be started."""
    files = [sealed.data("onggi-input", input), *(os.memfd_create(name) for name in ("output", "errors"))]
    os.lseek(files[0], 0, os.SEEK_SET)
    try:
        with _one_at_a_time:  # or `reap` would take the exit code away
            pid = spawn(argv, env=env or CLEAN, fds=dict(enumerate(files)))
            _, status = os.waitpid(pid, 0)
        output, errors = (os.pread(fd, os.fstat(fd).st_size, 0) for fd in files[1:])
    finally:
        for fd in files:
            os.close(fd)
        reap()
    return Finished(os.waitstatus_to_exitcode(status), output, errors)
