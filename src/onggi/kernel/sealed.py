"""A sealed copy of the interpreter, so that a container cannot overwrite it through ``/proc/<pid>/exe``
(CVE-2019-5736).
"""

from __future__ import annotations

import fcntl
import os
import sys

from onggi.errors import KernelError
from onggi.kernel.files import write_all

_MFD_EXEC = 0x10  # Linux 6.3
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def interpreter() -> tuple[int, str]:
    """(memfd, absolute path of the real executable); the memfd holds the same bytes, cannot change and is
    close-on-exec.

    The path must be argv[0] of whoever executes the memfd: Python finds its library by it.
    """
    path = os.path.realpath(sys.executable)
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = _memfd("onggi-python")
        _copy(source, target)
        fcntl.fcntl(target, fcntl.F_ADD_SEALS, _SEALS)
        return target, path
    finally:
        os.close(source)


def data(name: str, payload: bytes) -> int:
    """A sealed memfd with ``payload``: how plans travel past the launcher unread."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    write_all(fd, payload)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def read(fd: int) -> bytes:
    """The whole content of a memfd, which is closed."""
    try:
        return content(fd)
    finally:
        os.close(fd)


def content(fd: int) -> bytes:
    """The whole content of a memfd, wherever its offset is: several processes may read the same one."""
    size = os.fstat(fd).st_size
    parts, offset = [], 0
    while offset < size and (chunk := os.pread(fd, size - offset, offset)):
        parts.append(chunk)
        offset += len(chunk)
    return b"".join(parts)


def running_sealed() -> bool:
    """Whether this process already runs from a sealed memfd."""
    return os.readlink("/proc/self/exe").startswith("/memfd:onggi-python")


def _memfd(name: str) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | _MFD_EXEC)
    except OSError:
        return os.memfd_create(name, flags)  # before 6.3 every memfd is executable


def _copy(source: int, target: int) -> None:
    remaining = os.fstat(source).st_size
    while remaining:
        sent = os.sendfile(target, source, None, remaining)
        if not sent:
            raise KernelError("sendfile", 5, sys.executable)  # EIO: the file shrank under us
        remaining -= sent
