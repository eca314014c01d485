"""The error categories of Onggi.

The category of an error decides its HTTP status and exit code, in exactly one place each (``api``, ``cli``);
its facts travel as attributes; its sentence is rendered last. This module imports nothing, because the
processes that fork (launcher, monitor) load it too.

    OnggiError
    ├── InvalidArgument      the request is wrong as written
    ├── Unauthenticated      who are you?
    ├── Forbidden            policy says no
    ├── NotFound             no such object
    ├── Conflict             name taken, wrong state, in use
    ├── NotModified          already as asked
    ├── CommandNotFound      the container's program is absent
    ├── NotExecutable        the container's program cannot be run
    ├── Unsupported          the kernel or this build lacks it
    ├── Unavailable          launcher or monitor unreachable
    │   └── ServerFailed     a registry is unreachable, or answers what it should not
    ├── DataLoss             digest mismatch, corrupt store
    └── KernelError          a system call failed and nobody could decide
"""

from __future__ import annotations

import os


class OnggiError(Exception):
    """Base of all errors that Onggi raises on purpose; ``str()`` is the sentence for people."""


class InvalidArgument(OnggiError):
    """The request is wrong as written."""


class Unauthenticated(OnggiError):
    """The caller did not prove who they are."""


class Forbidden(OnggiError):
    """Policy forbids the request."""


class NotFound(OnggiError):
    """No such object."""


class Conflict(OnggiError):
    """The object's state or name does not allow the request."""


class NotModified(OnggiError):
    """The object is already as asked."""


class CommandNotFound(OnggiError):
    """The container's program does not exist (exit 127)."""


class NotExecutable(OnggiError):
    """The container's program cannot be run (exit 126)."""


class Unsupported(OnggiError):
    """The kernel, the machine or this build cannot do it."""


class Unavailable(OnggiError):
    """A process or peer that is needed cannot be reached."""


class ServerFailed(Unavailable):
    """A server elsewhere cannot be reached, or does not answer as it should."""


class DataLoss(OnggiError):
    """Stored bytes are not what they should be."""


class KernelError(OnggiError):
    """A system call failed.

    ``call`` is the man-page name, ``errno`` the number; ``path`` (the object) and ``step`` (of the plan that
    was being executed) may be empty.
    """

    def __init__(self, call: str, errno: int, path: str = "", step: str = "") -> None:
        self.call, self.errno, self.path, self.step = call, errno, path, step
        super().__init__(call, errno, path, step)

    def __str__(self) -> str:
        where = f" {self.path}" if self.path else ""
        during = f"{self.step}: " if self.step else ""
        return f"{during}{self.call}{where}: {os.strerror(self.errno).lower()}"
