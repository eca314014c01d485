"""The jobs of this room: functions that the launcher runs by name in a confined fork."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onggi.archive.confine import confine
from onggi.archive.extract import Limits, extract

Json = Any


def unpack(fds: list[int], arguments: Json) -> Json:
    """Unpack a plain tar stream: ``fds`` are the stream and the target directory.

    ``arguments`` has ``entries``, ``bytes`` and ``depth`` (see ``Limits``); the answer has ``entries`` and
    ``bytes``.
    """
    stream_fd, root_fd = fds
    confine(root_fd)
    result = extract(stream_fd, root_fd, Limits(**arguments))
    return {"entries": result.entries, "bytes": result.bytes}


TABLE: dict[str, Callable[[list[int], Json], Json]] = {"unpack": unpack}
