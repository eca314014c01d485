"""Packs a file or directory of this machine for a container, as docker's command does."""

from __future__ import annotations

import _thread
import os

from onggi.archive.pack import Packer
from onggi.archive.walk import Opener, walk
from onggi.cli.cp_paths import rename, split_entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onggi.archive.tar import Entry
    from onggi.cli.cp_paths import End, Plan

_PIECE = 1 << 18
_CAPABILITY = b"security.capability"


def capable(entry: Entry) -> Entry:
    """Return an entry with no attribute but capabilities: user attributes and ACLs are about this machine's
    users, and docker's command leaves them behind too.
    """
    return entry._replace(xattrs={key: value for key, value in entry.xattrs.items() if key == _CAPABILITY})


def packed(source: End, plan: Plan) -> Iterator[bytes]:
    """Yield the archive of ``source`` with the names that ``plan`` wants. Raises OSError."""
    return piped(lambda fd: _write(source, plan, fd))


def piped(write: Callable[[int], None]) -> Iterator[bytes]:
    """Yield what ``write`` writes to its descriptor; raises what it raises.

    It runs in a thread and writes into a pipe: the kernel moves file data to where it is sent from.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            write(writing)
        except BaseException as error:
            errors.append(error)
        finally:
            os.close(writing)

    _thread.start_new_thread(work, ())
    # The reading end stays open when nobody reads on: a writer without a reader would end the program.
    while piece := os.read(reading, _PIECE):
        yield piece
    os.close(reading)
    if errors:
        raise errors[0]


def _write(source: End, plan: Plan, out_fd: int) -> None:
    folder, name = split_entry(source.path)
    packer = Packer(out_fd, capable)
    parent_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opener = Opener()
    top = opener.open(parent_fd, os.fsencode(name), b"")
    if top is None:
        raise FileNotFoundError(2, os.strerror(2), source.path)
    for found in walk(top, opener, lambda _: True):
        path = os.fsencode(name) + (b"/" + found.path if found.path else b"")
        packer.add(found, rename(path, plan.old, plan.new))
    packer.finish()
