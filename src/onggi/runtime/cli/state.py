"""What the command remembers of a container between calls.

    <root>/<id>/state.json   the record below; replaced as a whole
    <root>/<id>/config.json  the bundle's config.json as it was at create
    <root>/<id>/lock         held (fcntl) by whoever changes the container
    <root>/<id>/exec.fifo    a byte here lets a created container run; removed then
    <root>/<id>/result.fifo  what came of it: nothing, or one failure

The engine does not read this tree. Whether a container runs is never stored: it is asked of the kernel, by
pid and start time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from onggi.errors import Conflict, InvalidArgument, NotFound
from onggi.kernel.cgroups import Group, Hierarchies
from onggi.kernel.files import read_small, write_atomic
from onggi.kernel.process import alive, boot_id

Json = Any
EXEC_FIFO, RESULT_FIFO = "exec.fifo", "result.fifo"
_EXTRA = "_+-."


class State(NamedTuple):
    """A container. ``pid`` is 0 while it is being made; ``cgroup`` is empty where groups are not managed."""

    id: str
    bundle: str
    rootfs: str
    created: str
    oci_version: str
    annotations: dict[str, str]
    cgroup: str
    owner: int
    pid: int = 0
    started: int = 0
    boot: str = ""


def check_id(container_id: str) -> str:
    """An id that is one harmless file name; raises InvalidArgument."""
    if not container_id:
        raise InvalidArgument("container ID cannot be empty")
    for character in container_id:
        if not (character.isascii() and (character.isalnum() or character in _EXTRA)):
            raise InvalidArgument(f"invalid character {character!r} in container ID {container_id!r}")
    if container_id.startswith("."):
        raise InvalidArgument(f"invalid container ID {container_id!r}: it starts with a dot")
    return container_id


class Directory:
    """The files of one container."""

    def __init__(self, root: str, container_id: str) -> None:
        self.path = f"{root}/{check_id(container_id)}"
        self.id = container_id

    def make(self) -> None:
        """Take the id; raises Conflict if it is in use."""
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            raise Conflict(f"container with id {self.id} already exists") from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the container against other changes; a lock of this kind is not inherited by a fork."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            fd = os.open(f"{self.path}/lock", flags, 0o600)
        except FileNotFoundError:
            raise _absent(self.id) from None
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def save(self, state: State) -> None:
        """Replace the record."""
        write_atomic(f"{self.path}/state.json", json.dumps(state._asdict()).encode(), durable=False)

    def load(self) -> State:
        """The record; raises NotFound."""
        try:
            return State(**json.loads(read_small(f"{self.path}/state.json")))
        except FileNotFoundError:
            raise _absent(self.id) from None

    def save_config(self, config: Json) -> None:
        """Keep the configuration: later commands use what the container was made with."""
        write_atomic(f"{self.path}/config.json", json.dumps(config).encode(), durable=False)

    def config(self) -> Json:
        """The configuration the container was made with."""
        return json.loads(read_small(f"{self.path}/config.json"))

    def waiting(self) -> bool:
        """Whether the container has been created and not started."""
        return os.path.exists(f"{self.path}/{EXEC_FIFO}")

    def remove(self) -> None:
        """Forget the container; idempotent."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.path):
                os.unlink(entry.path)
            os.rmdir(self.path)


def _absent(container_id: str) -> NotFound:
    return NotFound(f"container does not exist: {container_id}")


def all_ids(root: str) -> list[str]:
    """The ids under a root, sorted."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(name for name in os.listdir(root) if os.path.exists(f"{root}/{name}/state.json"))
    return []


def runs(state: State) -> bool:
    """Whether the container's first process exists."""
    return bool(state.pid) and state.boot == boot_id() and alive(state.pid, state.started)


def status(directory: Directory, state: State, hierarchies: Hierarchies) -> str:
    """creating, created, running, paused or stopped (runtime.md#state)."""
    if not state.pid:
        return "creating"
    if not runs(state):
        return "stopped"
    if directory.waiting():
        return "created"
    if state.cgroup and _frozen(Group(hierarchies, state.cgroup)):
        return "paused"
    return "running"


def _frozen(group: Group) -> bool:
    return group.exists() and group.frozen()


def public(state: State, word: str) -> Json:
    """The state document of the specification, as hooks and callers get it."""
    document: dict[str, Json] = {"ociVersion": state.oci_version, "id": state.id, "status": word}
    document |= {"pid": state.pid if word != "stopped" else 0, "bundle": state.bundle}
    return document | ({"annotations": state.annotations} if state.annotations else {})
