"""Which format a driver has and where its file lies."""

from __future__ import annotations

import os
from collections.abc import Mapping

from onggi.errors import InvalidArgument
from onggi.logs.jsonfile import JsonFile
from onggi.logs.local import Local
from onggi.logs.record import Format
from onggi.logs.sending import SENDING


def format_of(driver: str, attributes: Mapping[str, str] | None = None) -> Format:
    """The format of a driver that writes files; raises InvalidArgument for others (``none``)."""
    if driver == "json-file":
        return JsonFile(attributes)
    if driver in ("local", *SENDING):
        return Local()  # of what is sent, docker keeps a copy that can be read
    raise InvalidArgument(f"log driver '{driver}' keeps no files")


def log_path(driver: str, directory: str) -> str:
    """The file being written; ``directory`` is named after the container or is ``log`` in one that is."""
    directory = directory.rstrip("/")
    parent, name = os.path.split(directory)
    container_id = os.path.basename(parent) if name in ("log", "logs") else name
    return os.path.join(directory, container_id + format_of(driver).suffix)
