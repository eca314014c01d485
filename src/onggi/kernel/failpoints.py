"""Named points at which a test lets the engine die, or lets a step fail. They do nothing in production.

The environment variable ``ONGGI_FAILPOINT`` is read once, when a process starts: ``NAME`` kills the process
by SIGKILL where it passes that point, ``NAME#3`` where it passes the third time, ``NAME=EIO`` (any name of
errno) raises that OSError there, and ``NAME=skip`` puts a step out of force that can be (``skipped``), so
that a test can show that it would be missed. onggid reads it; launcher and monitors start with an environment
of their own and never see it.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal

_point, _, _error = os.environ.get("ONGGI_FAILPOINT", "").partition("=")
_name, _, _passes = _point.partition("#")
_left = itertools.count(int(_passes or 1) - 1, -1)


def failpoint(name: str) -> None:
    """Die or fail here if this point was chosen."""
    if name != _name or next(_left) > 0:
        return
    if _error:
        number = getattr(errno, _error)
        raise OSError(number, os.strerror(number), name)
    os.kill(os.getpid(), signal.SIGKILL)


def skipped(name: str) -> bool:
    """Whether a test put this step out of force."""
    return name == _name and _error == "skip"
