"""The directories of runs: made here, written by the monitors (see ``launch.monitor``), and read again.

<exec-root>/containers/<id>/<n>/
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from glob import escape, iglob
from typing import Any

import msgspec

from onggi.containers import records
from onggi.containers.runtime import ExitRecord
from onggi.kernel import process
from onggi.kernel.sockets import connect_unix
from onggi.store.spares import Spares

Json = Any
_FILES = ("cgroup", "exit.json", "monitor.sock", records.NAME)


class RunDirectories:
    """Those of one engine, whose containers have their groups below ``parent``."""

    def __init__(self, exec_root: str, parent: str) -> None:
        self._root, self._parent = f"{exec_root}/containers", parent
        self._spares = Spares(f"{exec_root}/spares")

    def path(self, container_id: str, run: int) -> str:
        return f"{self._root}/{container_id}/{run}"

    def all(self) -> Iterator[tuple[str, str, str]]:
        """Container, number and path of every run that left a directory."""
        for path in iglob(f"{escape(self._root)}/*/*"):
            container_id, number = path.split("/")[-2:]
            yield container_id, number, path

    def make(self, path: str) -> None:
        parent = os.path.dirname(path)
        try:
            self._spares.make(parent)
        except FileExistsError:
            pass  # of an earlier run
        except FileNotFoundError:
            os.makedirs(os.path.dirname(parent), 0o700, exist_ok=True)
            self._spares.make(parent)
        self._spares.make(path)

    def remove(self, path: str) -> None:
        self._spares.remove(path, _FILES)
        self._spares.remove_empty(os.path.dirname(path))  # another run may have begun in it

    def remove_empty(self) -> None:
        """Remove directories of containers without runs."""
        for directory in iglob(f"{escape(self._root)}/*"):
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    def cgroup(self, container_id: str, path: str) -> str:
        """The group of a run that another engine began, perhaps below another parent."""
        with contextlib.suppress(OSError):
            text = os.readlink(f"{path}/cgroup")
            return text + container_id if text.endswith("/") else text
        return f"{self._parent}/{container_id}"


def exit_record(path: str) -> ExitRecord | None:
    """How a run of this boot ended, if its monitor said so."""
    raw = _read_json(f"{path}/exit.json")
    if not raw or raw.get("boot_id") not in ("", None, process.boot_id()):
        return None
    return msgspec.convert(raw, ExitRecord)


def ended_execs(path: str) -> dict[str, int]:
    """Exit codes of execs that ended while no engine listened."""
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(path) if name.startswith("exec-")]
        found = [_read_json(f"{path}/{name}") for name in names]
        return {record["id"]: int(record["code"]) for record in found if record}
    return {}


def connect_or_forbid(path: str) -> socket.socket:
    """A connection to a run's monitor, or, if none has bound its socket yet, the certainty that none ever
    will.

    A monitor that is only being forked finds the name taken and ends. Raises FileNotFoundError if there was
    none, ConnectionRefusedError if it is gone.
    """
    name = f"{path}/monitor.sock"
    try:
        return connect_unix(name, socket.SOCK_SEQPACKET)
    except FileNotFoundError:
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return connect_unix(name, socket.SOCK_SEQPACKET)
        raise


def _read_json(path: str) -> Json:
    try:
        with open(path, "rb") as file:
            return json.loads(file.read())
    except (OSError, ValueError):
        return {}
