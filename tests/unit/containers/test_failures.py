"""Starts that failed: docker's words, its exit code and the category, by the record from inside."""

import errno

import pytest

from onggi.containers.failures import exit_code_of, remote_error, start_error
from onggi.errors import CommandNotFound, Conflict, InvalidArgument, KernelError, NotExecutable

MISMATCH = (
    "not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the "
    "specified host path exists and is the expected type"
)


# As dockerd 28.5 answered, but for ENOEXEC, with which its container starts and ends.
@pytest.mark.parametrize(
    ("step", "call", "number", "path", "category", "code", "end"),
    [
        ("path", "exec", errno.ENOENT, "x", CommandNotFound, 127, "executable file not found in $PATH"),
        ("exec", "stat", errno.ENOENT, "/x", CommandNotFound, 127, "stat /x: no such file or directory"),
        ("exec", "stat", errno.ENOTDIR, "/x/y", CommandNotFound, 127, f"stat /x/y: {MISMATCH}"),
        ("exec", "exec", errno.EACCES, "/x", NotExecutable, 126, 'exec: "/x": permission denied'),
        ("exec", "exec", errno.ENOEXEC, "/x", NotExecutable, 126, "exec format error"),
        ("cwd", "chdir", errno.ENOENT, "/x", CommandNotFound, 127, "failed: no such file or directory"),
        ("cwd", "chdir", errno.ENOTDIR, "/x", CommandNotFound, 127, f"failed: {MISMATCH}"),
        ("cwd", "chdir", errno.EACCES, "/x", NotExecutable, 126, "failed: permission denied"),
        ("bind", "mount", errno.ENOTDIR, "/bin", InvalidArgument, 127, f"mount /bin: {MISMATCH}"),
        ("filesystem", "openat2", errno.ENOTDIR, "/f", InvalidArgument, 127, f"openat2 /f: {MISMATCH}"),
        ("device", "openat2", errno.ENOTDIR, "/f", InvalidArgument, 127, f"openat2 /f: {MISMATCH}"),
        ("bind", "mount", errno.EACCES, "/x", InvalidArgument, 126, "mount /x: permission denied"),
        ("bind", "mount", errno.EINVAL, "/x", KernelError, 128, "bind: mount /x: invalid argument"),
        ("root", "openat2", errno.ENOENT, "/x", KernelError, 128, "openat2 /x: no such file or directory"),
    ],
)
def test_failures_of_the_kernel(step, call, number, path, category, code, end):
    error = start_error({"step": step, "call": call, "errno": number, "path": path, "message": ""})
    assert type(error) is category
    assert (exit_code_of(error), str(error).endswith(end)) == (code, True), error


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("open /proc/sys/net/foo: no such file or directory", 127),
        ("write /proc/sys/net/foo: invalid argument", 128),
        (
            "error while mounting volume '/v': failed to mount local volume: mount x:/v: permission denied",
            128,
        ),
    ],
)
def test_refusals_inside(message, code):
    error = start_error({"step": "sysctl", "call": "", "errno": 0, "path": "", "message": message})
    assert (exit_code_of(error), str(error).endswith(message)) == (code, True)


def test_what_fails_before_there_is_a_task():
    words = 'error gathering device information while adding custom device "/x": no such file or directory'
    assert exit_code_of(InvalidArgument(words)) == 128


def test_an_exec_into_a_container_that_ends_is_a_conflict() -> None:
    gone = {"kind": "KernelError", "call": "setns", "errno": errno.ESRCH, "step": "namespaces"}
    error = remote_error(gone)
    assert isinstance(error, Conflict)
    assert str(error) == "cannot exec in a stopped container"
    assert isinstance(remote_error({**gone, "errno": errno.EPERM}), KernelError)
