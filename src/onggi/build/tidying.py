"""What comes with a context and is not part of it: names that our command tells, files that are ignored.

docker's classic command has to send a Dockerfile and an ignore file that are themselves ignored, because the
engine reads them; the engine takes them away before the first step, so that no COPY sees them.
"""

from __future__ import annotations

import errno
import os

from onggi.archive import trees
from onggi.archive.ignore import MAX_BYTES, Ignored, read
from onggi.build.context import Place
from onggi.build.options import Options
from onggi.errors import InvalidArgument, KernelError
from onggi.kernel import paths

IGNORE_FILE = ".dockerignore"


def ignored(place: Place, dockerfile: str) -> Ignored:
    """The rules that came with a context: those beside the Dockerfile first. Blocking.

    Raises InvalidArgument.
    """
    for name in (f"{dockerfile}{IGNORE_FILE}", IGNORE_FILE):
        data = place.read(name)
        if data is not None:
            try:
                return Ignored(read(data[: MAX_BYTES + 1]))
            except InvalidArgument as error:
                raise InvalidArgument(f"error reading {name}: {error}") from None
    return Ignored(())


def tidy(place: Place, asked: Options) -> None:
    """Take away what is not part of the context. Blocking; raises InvalidArgument."""
    gone = list(asked.hidden)
    if not asked.details:
        rules = ignored(place, asked.dockerfile)
        gone += [name for name in (asked.dockerfile, IGNORE_FILE) if name.strip("/") in rules]
    with place.opened() as fd:
        if asked.remote:
            _leave_out(fd, ignored(place, asked.dockerfile))  # nobody has, before it came
        for name in gone:
            remove_in(fd, name)


def _leave_out(root_fd: int, rules: Ignored) -> None:
    if not rules.rules:
        return
    for directory, names, files, fd in os.fwalk(".", dir_fd=root_fd):
        above = directory.removeprefix(".").lstrip("/")
        for name in files:
            if f"{above}/{name}".lstrip("/") in rules:
                os.unlink(name, dir_fd=fd)
        for name in [*names]:
            path = f"{above}/{name}".lstrip("/")
            if path in rules and not rules.may_keep_in(path):
                trees.remove_at(fd, name)
                names.remove(name)


def remove_in(root_fd: int, path: str) -> None:
    """Remove a name below a directory, no link on the way leading out; nothing if it is not there."""
    folder, _, name = path.strip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise InvalidArgument(f"invalid name in a context: {path[:200]!r}")
    try:
        parent_fd = paths.open_in(root_fd, folder or "/", os.O_PATH | os.O_DIRECTORY)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise
    try:
        trees.remove_at(parent_fd, name)
    finally:
        os.close(parent_fd)
