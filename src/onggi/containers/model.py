"""A container as the engine knows it: what was asked for, how it stands, and who waits for it.

``Spec`` and ``State`` are stored; ``Container`` is the one live object per container, owned by the event
loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from sqlite3 import Connection
from typing import Any

import msgspec

from onggi.containers.mount_points import MountPoint
from onggi.containers.request import ContainerConfig, HostConfig
from onggi.containers.runtime import Attach
from onggi.errors import Conflict
from onggi.networks.model import Wish
from onggi.store.snapshots import Draft
from onggi.volumes.model import Volume

Json = Any
Statement = Callable[[Connection], None]


class Spec(msgspec.Struct, kw_only=True):
    """What was asked for, completed by defaults and the image; changed by ``update`` only."""

    image: str
    image_id: str
    config: ContainerConfig
    host_config: HostConfig
    mounts: list[MountPoint]
    log_directory: str
    platform: str = "linux"
    networks: dict[str, Wish] = {}
    step: bool = False  # of a build: it ends with that, and with the engine

    @property
    def fleeting(self) -> bool:
        """Whether it is removed after a power loss anyway, so that its row need not be durable."""
        return self.host_config.auto_remove or self.step

    @property
    def mounted_images(self) -> list[str]:
        """The ids of images that are mounted, in the order of the mounts."""
        return [point.source for point in self.mounts if point.type == "image"]


class ProbeResult(msgspec.Struct):
    """One run of a health probe."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str


class Health(msgspec.Struct):
    status: str = "starting"
    failing_streak: int = 0
    log: list[ProbeResult] = []


class State(msgspec.Struct, kw_only=True):
    """How the last run stands; times are ns since the epoch, 0 for never."""

    running: bool = False
    paused: bool = False
    restarting: bool = False
    dead: bool = False
    pid: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    log_errors: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    health: Health | None = None

    def unprobed(self) -> None:
        """Who is not probed, being paused or down, counts as unhealthy, as in docker."""
        if self.health is not None:
            self.health.status = "unhealthy"


class Container:
    """The live object: facts of the row, and what only this process knows."""

    def __init__(self, id: str, name: str, created_ns: int, spec: Spec, state: State) -> None:
        self.id, self.name, self.created_ns = id, name, created_ns
        self.spec, self.state = spec, state
        self.run = 0
        self.restarts = 0
        self.next_start_ns = 0
        self.stopped_by_user = False
        self.removing = False
        self.stored = False  # a row exists
        self.rootfs: Any = None
        self.draft: Draft | None = None  # the snapshot whose row is to be written with ours
        self.volumes: list[Volume] = []  # made for this one, their rows are to be written with ours
        self.remove_volumes = False  # the anonymous ones, when it is removed
        self.save_timer: asyncio.TimerHandle | None = None
        self.lock = asyncio.Lock()
        self.attachments: list[Attach] = []  # clients that attached before the start
        self.execs: dict[str, Any] = {}
        self.exit_waiters: list[asyncio.Future[Json]] = []  # until the current run is booked as ended
        self.removal_waiters: list[asyncio.Future[Json]] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.run_client: ClientCopy | None = None
        self.size: tuple[int, int] | None = None  # of the terminal, remembered until the start
        self.restart_timer: asyncio.TimerHandle | None = None
        self.started_once = asyncio.Event()
        self.views: set[View] = set()
        self.secret_variables: list[str] = []  # of its process, and in no record (rule R14)

    @property
    def status(self) -> str:
        """docker's one word."""
        state = self.state
        if self.removing:
            return "removing"
        if state.running:
            return "paused" if state.paused else "restarting" if state.restarting else "running"
        if state.dead:
            return "dead"
        return "exited" if state.started_ns else "created"

    @property
    def alive(self) -> bool:
        """A process exists: running or paused, not between two runs."""
        return self.state.running and not self.state.restarting

    def require_alive(self) -> None:
        """Raises Conflict in docker's words."""
        if not self.alive:
            raise Conflict(f"container {self.id} is not running")

    def take_attachments(self) -> list[Attach]:
        """The waiting list; the caller owns the descriptors from now on."""
        waiting, self.attachments = self.attachments, []
        return waiting

    def drop_attachments(self) -> None:
        """Close the sockets of clients that wait for a start that will not come."""
        for waiting in self.take_attachments():
            os.close(waiting.fd)


class View:
    """Somebody who looks at a container's files: the task, and when it has let go of them.

    ``mounted``: it holds a mount of the root, beside which there may be no other.
    """

    def __init__(self, mounted: bool) -> None:
        self.task, self.mounted, self.closed = asyncio.current_task(), mounted, asyncio.Event()


class ClientCopy:
    """Our copy of the socket of a client whose stream the monitor serves."""

    def __init__(self, fd: int) -> None:
        self.fd = os.dup(fd)

    def close(self) -> None:
        """Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def exit_answer(code: int, error: str = "") -> Json:
    """docker's answer of a wait."""
    return {"StatusCode": code, "Error": {"Message": error} if error else None}


def enlist(waiters: list[asyncio.Future[Json]]) -> asyncio.Future[Json]:
    """A future on the list of those that ``settle`` answers."""
    waiters.append(asyncio.get_running_loop().create_future())
    return waiters[-1]


def settle(waiters: list[asyncio.Future[Json]], answer: Json) -> None:
    """Answer everybody on the list and empty it."""
    for future in waiters:
        if not future.done():
            future.set_result(answer)
    waiters.clear()
