"""Records of runs whose rows are not in the database yet.

Most --rm containers live for milliseconds. Their rows are written a moment after the start, if they are
still there by then; until then a file beside the run says what the row would. It outlives a kill of the
engine as the row would, and like the monitor's own files it ends with the boot, which such a container does
too.

    <exec-root>/containers/<id>/<n>/record.json     [row of the container, row of its
                                                    snapshot or null, volumes made for it]
"""

from __future__ import annotations

import os
import sqlite3
from glob import iglob

import msgspec

from onggi.containers import repository
from onggi.containers.model import Container
from onggi.containers.repository import Row
from onggi.store import snapshots
from onggi.volumes import repository as volumes
from onggi.volumes.model import Volume

NAME = "record.json"
_encode = msgspec.json.Encoder().encode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


def record_of(container: Container) -> bytes:
    """What is to be kept beside the run."""
    snapshot = container.draft.row if container.draft else None
    return _encode((repository.row_of(container), snapshot, container.volumes))


def write(run_dir: str, record: bytes) -> None:
    """Nothing was launched yet: a record that is cut short belongs to no process."""
    fd = os.open(f"{run_dir}/{NAME}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, record)
    finally:
        os.close(fd)


def adopt(connection: sqlite3.Connection, exec_root: str) -> None:
    """At start, before anything else reads the tables: write the rows that the last engine left out."""
    for path in iglob(f"{exec_root}/containers/*/*/{NAME}"):
        with open(path, "rb") as file:
            text = file.read()
        try:
            container, snapshot, drafts = _decode(text)
        except (msgspec.DecodeError, ValueError):
            continue
        if snapshot is not None:
            snapshots.insert_row(connection, snapshot)
        volumes.insert(drafts)(connection)
        repository.insert_missing(connection, container)


def _decode(text: bytes) -> tuple[Row, snapshots.Row | None, list[Volume]]:
    """The rows of a record; those of engines without volumes have two parts."""
    container, snapshot, *drafts = _split(text)
    return (
        msgspec.json.decode(container, type=Row),
        msgspec.json.decode(snapshot, type=snapshots.Row | None),
        msgspec.json.decode(drafts[0], type=list[Volume]) if drafts else [],
    )
