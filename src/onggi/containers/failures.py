"""Errors of the inside, in the words docker's clients look for.

The CLI decides 126 and 127 by searching the text ("executable file not found", "permission denied", "no
such file or directory"), so the sentence is rendered here once, from the record (step, call, errno, path).
"""

from __future__ import annotations

import errno
import os
from typing import Any

from onggi import errors
from onggi.errors import CommandNotFound, Conflict, InvalidArgument, KernelError, NotExecutable, OnggiError

Json = Any
_PREFIX = "failed to create task for container: failed to create shim task: OCI runtime create failed: "


def start_error(failure: Json) -> OnggiError:
    """The error of a start (or exec) whose first process reported ``failure``."""
    step, number, path = failure["step"], failure["errno"], failure["path"]
    if step in ("path", "exec") and number:
        return _exec_error(step, number, path)
    if step == "cwd":
        text = f'chdir to cwd ("{path}") set in config.json failed: {os.strerror(number).lower()}'
        category = CommandNotFound if number == errno.ENOENT else NotExecutable
        return category(_PREFIX + text)
    if failure["call"] == "setns" and number == errno.ESRCH:  # the first process ended meanwhile
        return Conflict("cannot exec in a stopped container")
    if not number:
        return InvalidArgument(_PREFIX + (failure["message"] or f"{step} failed"))
    return KernelError(failure["call"], number, path, step)


def _exec_error(step: str, number: int, path: str) -> OnggiError:
    begin = f'{_PREFIX}unable to start container process: error during container init: exec: "{path}": '
    if step == "path" and number == errno.ENOENT:
        return CommandNotFound(begin + "executable file not found in $PATH")
    if number == errno.ENOENT:
        return CommandNotFound(f"{begin}stat {path}: no such file or directory")
    if number == errno.EACCES:
        return NotExecutable(begin + "permission denied")
    return NotExecutable(begin + os.strerror(number).lower())


def exit_code_of(error: BaseException) -> int:
    """docker's exit code of a start that failed."""
    if isinstance(error, CommandNotFound):
        return 127
    return 126 if isinstance(error, NotExecutable) else 128


def remote_error(error: Json) -> OnggiError:
    """The exception that another of our processes reported."""
    kind = getattr(errors, error.get("kind", ""), None)
    if kind is KernelError:
        failure = {name: error.get(name, "") for name in ("step", "call", "path", "message")}
        return start_error({**failure, "errno": int(error.get("errno") or 0)})
    if isinstance(kind, type) and issubclass(kind, OnggiError):
        return kind(error.get("message", ""))
    return KernelError(error.get("kind", "internal"), int(error.get("errno") or 5), error.get("message", ""))
