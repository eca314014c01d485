"""What the container service asks of whoever runs processes, and the records that travel between them.

Declared by the user of it: ``containers/supervisor.py`` (launcher and monitors) implements ``Runtime``;
tests use a fake. Times are nanoseconds since the epoch, signals are numbers, descriptors passed in belong
to the runtime from the moment of the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from onggi.containers.roots import Roots
    from onggi.store.rootfs import Rootfs

Json = Any
StdinMode = Literal["null", "open", "once"]
RunStatus = Literal["running", "paused"]


class Attach(msgspec.Struct):
    """One client's stream: a connected socket and what to send over it.

    ``detach_keys`` are the bytes of the sequence in hexadecimal, empty for none. ``early`` are bytes the
    client sent behind its request head; ``framed`` selects docker's 8-byte stream headers; ``status`` says
    that the engine holds a copy of the socket and writes a last frame (type 4) on it after the exit record;
    the event ``detached`` then says whether this client has left, so that the copy is closed too.
    ``exit_code`` asks the monitor for such a frame about an exec.
    """

    fd: int
    early: bytes = b""
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    framed: bool = False
    detach_keys: str = ""
    status: bool = False
    exit_code: bool = False


class StartRequest(msgspec.Struct):
    """Everything that one run of a container needs; ``config`` makes its OCI runtime config.json.

    Requests of equal ``shape`` have configurations that differ in the container's id, and its first twelve
    digits, alone; None if that cannot be said.
    ``log`` has the keys ``driver``, ``directory`` and ``options``. ``run_dir`` is the directory of this run,
    ``<exec-root>/containers/<id>/<run>``. ``wire`` is called with the network namespace between ``prepared``
    and ``go``; None where nothing is to be wired. ``size`` is (rows, columns) of the terminal. ``seccomp`` is
    the compiled BPF program, empty when unconfined; it stands in for ``linux.seccomp`` and holds for exec'd
    processes too (R16). ``record`` is kept in the run directory, see ``records``.
    """

    id: str
    run: int
    config: Callable[[], Json]
    rootfs: Rootfs
    tty: bool
    stdin: StdinMode
    log: Json
    run_dir: str
    seccomp: bytes = b""
    size: tuple[int, int] | None = None
    attach: list[Attach] = msgspec.field(default_factory=list)
    wire: Callable[[int], Awaitable[None]] | None = None
    shape: Hashable = None
    record: bytes = b""


class Started(msgspec.Struct):
    """The program runs: its pid on the host and when exec succeeded."""

    pid: int
    started_ns: int
    warnings: list[str] = msgspec.field(default_factory=list)
    trace: Json = msgspec.field(default_factory=list)


class ExitRecord(msgspec.Struct):
    """How a run ended. ``signal`` is 0 unless the process was killed; ``code`` is then 128 + signal."""

    run: int
    code: int
    signal: int = 0
    oom: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    error: str = ""
    log_errors: int = 0


class MonitorState(msgspec.Struct):
    """What a living monitor says about its container.

    ``execs`` are the ids of exec'd processes that still run. ``ended_execs`` maps an exec id to its exit
    code.
    """

    run: int
    pid: int
    started_ns: int
    status: RunStatus = "running"
    execs: dict[str, int] = msgspec.field(default_factory=dict)
    ended_execs: dict[str, int] = msgspec.field(default_factory=dict)


class Runtime(Protocol):
    """Starts containers and speaks with what looks after them. ``on_event`` hears of a container's events
    that answer no call: ``detached`` {name}.

    Verbs of ``call`` (arguments -> answer): ``signal`` {signal} · ``pause`` · ``resume`` · ``kill`` (the
    whole cgroup) · ``resize`` {rows, cols} · ``attach`` {stdin, stdout, stderr, framed, status,
    detach_keys, early} + client fd, early and detach_keys hexadecimal · ``exec`` {id, process, tty, stdin,
    size, detach_keys, framed, stdout, stderr, early} + client fd or none -> {pid} · ``exec_wait`` {id} ->
    {code, error}, answered when it ends · ``exec_signal`` {id, signal} · ``exec_resize`` {id, rows, cols} ·
    ``state`` · ``stats`` · ``pids`` -> {pids} · ``update`` {resources} -> {warnings} · ``root``,
    ``mounts`` and ``netns`` -> {fd}, owned by the caller.
    """

    on_event: Callable[[str, Json], None]
    roots: Roots

    def prepared_id(self) -> str:
        """An id for a new container whose start is prepared, or empty; each once, but for other engines."""

    async def start(self, request: StartRequest) -> Started:
        """Start one run.

        Raises CommandNotFound, NotExecutable, InvalidArgument, KernelError or Unavailable.
        """

    async def recover(self, container_id: str, run: int) -> MonitorState | ExitRecord | None:
        """Connect to the monitor of a run, or read its exit record (137, ``monitor lost`` if it left none);
        None if there never was a monitor: from now on there will be none.
        """

    def sweep(self, alive: Mapping[str, int]) -> None:
        """At start: end and remove every run but those of ``alive``, container id to run."""

    def ended_execs(self, container_id: str, run: int) -> dict[str, int]:
        """Exit codes of execs that ended unheard, of a run that has ended and is not forgotten yet."""

    def exited(self, container_id: str) -> asyncio.Future[ExitRecord]:
        """The end of the current run; resolves with code 137 and ``monitor lost`` if the monitor vanished."""

    def flushed(self, container_id: str) -> asyncio.Future[None]:
        """When every attached client has all output of the current run."""

    async def call(self, container_id: str, verb: str, arguments: Json, fds: Sequence[int] = ()) -> Json:
        """Ask the monitor; raises NotFound if nothing runs, Unavailable if it does not answer."""

    async def job(self, name: str, arguments: Json, fds: Sequence[int]) -> Json:
        """Run a job in a fork of the launcher, see ``launch.jobs``; ``fds`` stay the caller's.

        Raises what the job raised, or Unavailable.
        """

    async def forget(self, container_id: str, run: int) -> None:
        """The record of this run is committed: remove its run directory. Idempotent."""
