"""Where an archive goes: standard output, or a file that appears whole or not at all."""

from __future__ import annotations

import os
import stat

from onggi.cli.command import Cli, Failure, Options
from onggi.client.errors import reason
from onggi.client.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

    from onggi.client.codec import Json

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link directly"),
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device file"),
    (stat.S_ISBLK, "a block device file"),
)


class Output:
    """The target of ``-o PATH``; "" is standard output, which must be no terminal then.

    ``prefix`` begins what is said of a path that cannot be one. Raises Failure. As a context manager it
    leaves nothing behind where nothing came.
    """

    def __init__(self, path: str, prefix: str) -> None:
        self._path, self._temporary, self._fd = path, "", 1
        if not path:
            if os.isatty(1):
                raise Failure("cowardly refusing to save to a terminal. Use the -o flag or redirect")
            return
        _check(path, prefix)
        folder, base = os.path.split(os.path.abspath(path))
        self._temporary = os.path.join(folder, f".tmp-{base}{os.urandom(5).hex()}")
        try:
            self._fd = os.open(self._temporary, _NEW, 0o600)
        except OSError as error:
            raise Failure(f"{prefix}: open {self._temporary}: {reason(error)}") from None

    def write(self, pieces: Iterable[bytes]) -> None:
        """Write everything and give the file its name; nothing is left of it after an error."""
        done = False
        try:
            for piece in pieces:
                write_all(self._fd, piece)
            if self._temporary:
                os.fsync(self._fd)
                os.rename(self._temporary, self._path)
            done = True
        except OSError as error:
            raise Failure(f"write {self._path or 'standard output'}: {reason(error)}") from None
        finally:
            self._close(done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close(False)

    def _close(self, done: bool) -> None:
        if self._temporary:
            os.close(self._fd)
            if not done:
                os.unlink(self._temporary)
            self._temporary = ""


def save(cli: Cli, options: Options, path: str, prefix: str, query: Mapping[str, Json] | None = None) -> int:
    """Write the archive that the engine has at ``path`` to where ``-o`` says; returns the exit code."""
    with Output(options.text("output"), prefix) as output:
        output.write(cli.engine.request("GET", path, query).chunks())
    return 0


def _check(path: str, prefix: str) -> None:
    folder = os.path.dirname(os.path.normpath(path))
    try:
        if folder and not stat.S_ISDIR(os.stat(folder).st_mode):
            raise Failure(f"{prefix}: invalid output path: stat {folder}: not a directory")
    except OSError as error:
        raise Failure(f"{prefix}: invalid output path: stat {folder}: {reason(error)}") from None
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    for matches, name in _KINDS:
        if matches(mode):
            raise Failure(f"{prefix}: cannot write to {name}")
