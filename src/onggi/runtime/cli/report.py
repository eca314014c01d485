"""What the command says: errors on stderr and in the ``--log`` file, in the words that podman, conmon and
containerd look for.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time

from onggi.errors import InvalidArgument, KernelError, Unsupported
from onggi.runtime.channel import Failure
from onggi.times import rfc3339_fixed

_FORMATS = ("text", "json")


class Log:
    """The ``--log`` file, one line an event; without a file, warnings go to stderr."""

    def __init__(self, path: str = "", form: str = "text", debug: bool = False) -> None:
        if form not in _FORMATS:
            raise InvalidArgument(f"invalid log format {form!r}: it is text or json")
        kind, _, rest = path.partition(":")
        if rest and kind in ("syslog", "journald"):
            raise Unsupported(f"--log={kind}: only files are supported")
        self.form, self.verbose = form, debug
        self._fd = _open(path.removeprefix("file:")) if path else -1

    def error(self, message: str) -> None:
        """The reason why the command fails; stderr gets it as well."""
        self._write("error", message)
        _print(message)

    def warning(self, message: str) -> None:
        """Something asked for that could not be done, and did not have to fail."""
        self._write("warning", message)
        if self._fd < 0:
            _print(f"warning: {message}")

    def debug(self, message: str) -> None:
        """A step, shown with ``--debug``."""
        if self.verbose:
            self._write("debug", message)
            if self._fd < 0:
                _print(message)

    def _write(self, level: str, message: str) -> None:
        if self._fd >= 0:
            os.write(self._fd, self._line(level, message).encode())

    def _line(self, level: str, message: str) -> str:
        now = timestamp()
        if self.form == "json":
            return json.dumps({"level": level, "msg": message, "time": now}) + "\n"
        return f'time="{now}" level={level} msg={json.dumps(message)}\n'


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None


def _print(message: str) -> None:
    sys.stderr.write(f"onggi-runtime: {message}\n")
    sys.stderr.flush()


class Failed(InvalidArgument):
    """A container's process could not be started; the words are runc's."""


def failed(failure: Failure, program: str) -> Failed:
    """The sentence of a failure inside the container."""
    if failure.step in ("path", "exec") and failure.errno:
        return Failed(_exec_sentence(failure, program))
    if not failure.errno:
        return Failed(failure.message or f"{failure.step} failed")
    where = f" {failure.path}" if failure.path else ""
    words = f"{failure.call}{where}: {os.strerror(failure.errno)}"
    return Failed(words if failure.call == failure.step else f"{failure.step}: {words}")


def _exec_sentence(failure: Failure, program: str) -> str:
    name = json.dumps(program)
    if failure.step == "path" and failure.errno == errno.ENOENT:
        return f"exec: {name}: executable file not found in $PATH"
    reason = {errno.EISDIR: "is a directory"}.get(failure.errno, os.strerror(failure.errno).lower())
    if failure.step == "exec" and failure.call == "exec" and failure.errno == errno.ENOEXEC:
        reason = "exec format error"
    return f"exec: {name}: {'stat ' + program + ': ' if failure.call == 'stat' else ''}{reason}"


def timestamp() -> str:
    """The time now."""
    return rfc3339_fixed(time.time_ns())
