"""Docker's client configuration, ``config.json``: read, changed and written back whole.

What we do not know in it is kept as it is. The file is replaced by rename; a new one is readable by its owner
only, an old one keeps its mode and owner.
"""

from __future__ import annotations

import errno
import os

from onggi.client.codec import indent
from onggi.client.endpoint import config_directory, read_config
from onggi.client.errors import ClientError, reason
from onggi.client.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from onggi.client.codec import Json

_LINKS = 40  # as the kernel follows at most
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ConfigFile:
    """The configuration in the directory that ``env`` names. Raises ClientError if it is no JSON."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.path = os.path.join(config_directory(env), "config.json")
        self.values: dict[str, Json] = read_config(env)

    @property
    def auths(self) -> dict[str, dict[str, Json]]:
        """The stored credentials by registry; changes count at the next ``save``."""
        if not isinstance(self.values.get("auths"), dict):
            self.values["auths"] = {}
        auths: dict[str, dict[str, Json]] = self.values["auths"]
        return auths

    def save(self) -> None:
        """Write the file. Raises ClientError."""
        values = dict(self.values)
        # First in the file and never absent, as docker writes it.
        text = indent({"auths": values.pop("auths", {}), **values}, "\t")
        try:
            os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
            replace_file(_real_path(self.path), text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise ClientError(f"cannot write {self.path}: {reason(error)}") from None


def _real_path(path: str) -> str:
    """Follow links, also one that leads nowhere: its target is the file to make."""
    for _ in range(_LINKS):
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return path
            raise
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def replace_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace ``path`` by a file of ``data``, durably and at once; an old one's mode and owner are kept.

    Raises OSError.
    """
    temporary = f"{path}{os.getpid()}.{os.urandom(4).hex()}"
    fd = os.open(temporary, _NEW, 0o600)
    try:
        try:
            write_all(fd, data)
            _take_over(fd, path, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _take_over(fd: int, path: str, mode: int) -> None:
    """Give the new file the old one's owner, where we may, and mode."""
    try:
        old = os.stat(path)
    except FileNotFoundError:
        os.fchmod(fd, mode)
        return
    try:
        os.fchown(fd, old.st_uid, old.st_gid)
    except PermissionError:
        pass  # somebody else's file in our directory becomes ours, as docker has it
    os.fchmod(fd, old.st_mode & 0o7777)
