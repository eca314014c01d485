"""Errors of the inside, in the words docker's clients look for.

The CLI decides 126 and 127 by searching the text ("executable file not found", "permission denied", "no
such file or directory"), so the sentence is rendered here once, from the record (step, call, errno, path).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from onggi import errors
from onggi.errors import CommandNotFound, Conflict, InvalidArgument, KernelError, NotExecutable, OnggiError

Json = Any
_PREFIX = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
_INIT = "unable to start container process: error during container init: "
_VOLUME = "error while mounting volume "  # which dockerd does before there is a task
# Where dockerd finds one of these in the words of a task's error, the request is to blame; with exit codes.
_EXIT_CODES = {errno.EACCES: 126, errno.ENOENT: 127, errno.ENOTDIR: 127}
_MISMATCH = (
    ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path "
    "exists and is the expected type"
)


@contextmanager
def during(what: str) -> Iterator[None]:
    """An error in here begins with what failed, as in docker's words; its category stays."""
    try:
        yield
    except KernelError:
        raise
    except OnggiError as error:
        raise type(error)(f"{what}: {error}") from None


def start_error(failure: Json) -> OnggiError:
    """The error of a start (or exec) whose first process reported ``failure``."""
    step, number, path = failure["step"], failure["errno"], failure["path"]
    if step in ("path", "exec") and number:
        return _exec_error(step, number, path)
    if step == "cwd":
        category = CommandNotFound if _EXIT_CODES.get(number) == 127 else NotExecutable
        return category(f'{_PREFIX}chdir to cwd ("{path}") set in config.json failed: {_reason(number)}')
    if step in ("bind", "filesystem", "device") and number in _EXIT_CODES:
        where = "creating device nodes" if step == "device" else f'mounting to rootfs at "{path}"'
        call = failure["call"]
        return InvalidArgument(f"{_PREFIX}{_INIT}error {where}: {call} {path}: {_reason(number)}")
    if failure["call"] == "setns" and number == errno.ESRCH:  # the first process ended meanwhile
        return Conflict("cannot exec in a stopped container")
    if not number and failure["message"].startswith(_VOLUME):
        return InvalidArgument(failure["message"])
    if not number:
        return InvalidArgument(_PREFIX + (failure["message"] or f"{step} failed"))
    return KernelError(failure["call"], number, path, step)


def _exec_error(step: str, number: int, path: str) -> OnggiError:
    begin = f'{_PREFIX}{_INIT}exec: "{path}": '
    if step == "path" and number == errno.ENOENT:
        return CommandNotFound(begin + "executable file not found in $PATH")
    if _EXIT_CODES.get(number) == 127:
        return CommandNotFound(f"{begin}stat {path}: {_reason(number)}")
    return NotExecutable(begin + _reason(number))


def _reason(number: int) -> str:
    return os.strerror(number).lower() + (_MISMATCH if number == errno.ENOTDIR else "")


def exit_code_of(error: BaseException) -> int:
    """docker's exit code of a start that failed; once there is a task its words decide, as in dockerd."""
    if isinstance(error, CommandNotFound):
        return 127
    if isinstance(error, NotExecutable):
        return 126
    words = str(error).lower() if str(error).startswith(_PREFIX) else ""
    return next((code for number, code in _EXIT_CODES.items() if os.strerror(number).lower() in words), 128)


def remote_error(error: Json) -> OnggiError:
    """The exception that another of our processes reported."""
    kind = getattr(errors, error.get("kind", ""), None)
    if kind is KernelError:
        failure = {name: error.get(name, "") for name in ("step", "call", "path", "message")}
        return start_error({**failure, "errno": int(error.get("errno") or 0)})
    if isinstance(kind, type) and issubclass(kind, OnggiError):
        return kind(error.get("message", ""))
    return KernelError(error.get("kind", "internal"), int(error.get("errno") or 5), error.get("message", ""))
