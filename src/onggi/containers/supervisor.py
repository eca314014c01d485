"""The engine's side of launcher and monitors: ``Runtime`` over their sockets.

If a monitor's connection ends without an exit record, the container's processes are killed by cgroup
and its end is recorded as 137, ``monitor lost``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from onggi.containers import records, rundirs
from onggi.containers.failures import exit_code_of, start_error
from onggi.containers.link import LauncherLink, Link
from onggi.containers.payload import Payloads, encode
from onggi.containers.roots import Roots
from onggi.containers.rundirs import RunDirectories
from onggi.containers.runtime import ExitRecord, MonitorState, Started, StartRequest
from onggi.errors import KernelError, NotFound, OnggiError, Unavailable
from onggi.kernel import sealed
from onggi.kernel.cgroup_mounts import Hierarchies
from onggi.kernel.cgroups import Group
from onggi.kernel.failpoints import failpoint
from onggi.kernel.features import Features
from onggi.launch import protocol
from onggi.launch.spare import Seats
from onggi.launch.start import SPARES
from onggi.runtime import channel
from onggi.runtime import compile as compiler
from onggi.runtime import plan as plans
from onggi.runtime.process import compile_process
from onggi.store.rootfs import Rootfs

Json = Any
EventHandler = Callable[[str, Json], None]  # container id, event
_ABANDON_S = 30.0
_NO_ROOT = plans.Root("", "", ())

logger = logging.getLogger(__name__)


class Run:
    """One run of a container, as the engine follows it."""

    def __init__(self, container_id: str, number: int, cgroup: str, run_dir: str) -> None:
        loop = asyncio.get_running_loop()
        self.id, self.number, self.cgroup, self.run_dir = container_id, number, cgroup, run_dir
        self.started: asyncio.Future[Json] = loop.create_future()
        self.exited: asyncio.Future[ExitRecord] = loop.create_future()
        self.flushed: asyncio.Future[None] = loop.create_future()
        self.link: Link | None = None
        self.wire: Callable[[int], Awaitable[None]] | None = None
        self.wiring: asyncio.Task[None] | None = None


class Supervisor:
    """Implements ``Runtime``; see there for the contract."""

    def __init__(
        self,
        exec_root: str,
        build: str,
        cgroup_parent: str,
        features: Features,
        hierarchies: Hierarchies,
        spares: int = SPARES,
    ) -> None:
        self.exec_root, self.build, self.cgroup_parent = exec_root, build, cgroup_parent
        self.features, self.hierarchies = features, hierarchies
        self.on_event: EventHandler = lambda _id, _event: None
        self.launcher = LauncherLink(exec_root, build, cgroup_parent, spares)
        self._runs: dict[str, Run] = {}
        os.makedirs(f"{exec_root}/root", 0o700, exist_ok=True)
        self.payloads = Payloads(features, hierarchies, f"{exec_root}/root")
        self.roots = Roots(self.payloads, self.launcher, self.call)
        self._directories = RunDirectories(exec_root, f"{cgroup_parent}/c")

    # -- Runtime -------------------------------------------------------------------------------------------

    def prepared_id(self) -> str:
        """The id of the spare that waits longest, at most once; empty if none does."""
        return self.launcher.ids.popleft() if self.launcher.ids else ""

    async def start(self, request: StartRequest) -> Started:
        """Compile the plan, hand it to the launcher, wait until the program runs."""
        taken = [attach.fd for attach in request.attach]
        try:
            event = await self._started(request)
        except OnggiError:
            await self._abandon(request)
            raise
        finally:
            for fd in taken:
                os.close(fd)
        if event["event"] == "failed":
            self._runs.pop(request.id, None)
            await asyncio.to_thread(self._directories.remove, request.run_dir)
            raise start_error(event["failure"])
        return Started(event["pid"], event["started_ns"], event.get("warnings", []), event.get("trace", []))

    async def copy_up(self, rootfs: Rootfs, path: str, target: int) -> Json:
        """Copy a directory of a root that no container runs on into the empty directory ``target``.

        Answers {"kind": "directory", "other" or "absent"}. Raises KernelError.
        """
        root = self.payloads.root_without_upper(rootfs)
        return await self.launcher.job("copy_up", {"root": root, "path": path}, [target])

    async def _abandon(self, request: StartRequest) -> None:
        """End a run that was launched and cannot be wired."""
        run = self._runs.pop(request.id, None)
        if run is None or run.link is None:
            return
        with contextlib.suppress(OnggiError):
            await run.link.call("kill", {})
            await asyncio.wait([run.exited], timeout=_ABANDON_S)
        run.link.close()
        self._clean_up(run)
        await asyncio.to_thread(shutil.rmtree, request.run_dir, True)

    async def _wire(self, run: Run, netns: int) -> None:
        """What stands between ``prepared`` and ``go``; a failure is the start's."""
        assert run.wire
        assert run.link
        try:
            await run.wire(netns)
            failpoint("containers.start.after_wire")
            await run.link.call("go", {})
        except OnggiError as error:
            if not run.started.done():
                run.started.set_exception(error)
        except OSError as error:
            if not run.started.done():
                run.started.set_exception(KernelError("wire", error.errno or 0, run.id))
        finally:
            os.close(netns)

    async def _started(self, request: StartRequest) -> Json:
        """What became of a launch; of another one if a launcher died with the request unread."""
        while True:
            launcher = self.launcher.pid
            try:
                run = self._launch(request)
                failpoint("containers.start.after_launch")
                event = await run.started
            except Unavailable:
                event = None
            unborn = event is None or event.get("failure", {}).get("step") == "monitor"
            # A monitor takes its name before it forks anything: without one nothing has happened.
            if not unborn or os.path.lexists(f"{request.run_dir}/monitor.sock"):
                return event
            await asyncio.to_thread(self._directories.remove, request.run_dir)
            await self.launcher.replaced(launcher)

    def _launch(self, request: StartRequest) -> Run:
        payload = self.payloads.make(request)
        self._directories.make(request.run_dir)
        if request.record:
            records.write(request.run_dir, request.record)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        run = Run(request.id, request.run, payload.cgroup, request.run_dir)
        run.wire = request.wire
        memfd, plan_fd = sealed.data("onggi-run", payload.request), sealed.data("onggi-plan", payload.plan)
        try:
            self._follow(run, ours)
            clients = [attach.fd for attach in request.attach]
            name = protocol.name_of(request.id)
            self.launcher.send(protocol.RUN, name, [memfd, plan_fd, theirs.fileno(), *clients])
        except BaseException:
            self._runs.pop(request.id, None)
            if run.link:
                run.link.close()
            raise
        finally:
            os.close(memfd)
            os.close(plan_fd)
            theirs.close()
        return run

    def _follow(self, run: Run, sock: socket.socket) -> None:
        run.link = Link(sock, lambda event, fds: self._event(run, event, fds), lambda: self._ended(run))
        self._runs[run.id] = run

    def _event(self, run: Run, event: Json, fds: list[int]) -> None:
        kind = event["event"]
        if kind == "prepared" and run.wire and len(fds) == 2:
            run.wiring = asyncio.get_running_loop().create_task(self._wire(run, fds.pop()))
        for fd in fds:
            os.close(fd)
        if kind in ("started", "failed") and not run.started.done():
            run.started.set_result(event)
        elif kind == "failed" and not run.exited.done():
            # The engine that asked for this start is gone; the next one learns of it as of an end.
            run.exited.set_result(_record_of_failure(run, event["failure"]))
        elif kind == "exited" and not run.exited.done():
            run.exited.set_result(msgspec.convert(event["record"], ExitRecord))
        elif kind == "flushed" and not run.flushed.done():
            run.flushed.set_result(None)
        else:
            self.on_event(run.id, event)

    def _ended(self, run: Run) -> None:
        """The monitor's connection ended: it finished, or it was lost."""
        if not run.started.done():
            self._clean_up(run)
            lost = channel.Failure("monitor", "", 0, "", "the container's monitor was lost")
            run.started.set_result({"event": "failed", "failure": lost._asdict()})
        elif not run.exited.done():
            run.exited.set_result(self._record_of_lost(run))
        if not run.flushed.done():
            run.flushed.set_result(None)

    def _record_of_lost(self, run: Run) -> ExitRecord:
        """The record it left, or, its processes being killed now, 137."""
        record = rundirs.exit_record(run.run_dir)
        self._clean_up(run)
        return record or ExitRecord(
            run=run.number, code=137, signal=9, error="monitor lost", finished_ns=time.time_ns()
        )

    def _clean_up(self, run: Run) -> None:
        """End what is left of a run, and remove its group."""
        group = Group(self.hierarchies, run.cgroup)
        try:
            if group.exists():
                group.kill()
                group.remove()
        except OnggiError as error:
            logger.warning("what is left of container %s does not end: %s", run.id, error)

    async def recover(self, container_id: str, run: int) -> MonitorState | ExitRecord | None:
        """Connect to the monitor of a run, or read its exit record; None if neither exists."""
        run_dir = self._directories.path(container_id, run)
        known = Run(container_id, run, self._directories.cgroup(container_id, run_dir), run_dir)
        try:
            sock = rundirs.connect_or_forbid(run_dir)
        except FileNotFoundError:
            self._clean_up(known)  # should its directory have been removed beneath it
            return None
        except OSError:
            return self._record_of_lost(known)
        self._follow(known, sock)
        assert known.link
        known.started.set_result({"event": "started"})
        try:
            state = await known.link.call(
                "hello", {"protocol": protocol.MONITOR_PROTOCOL, "build": self.build}
            )
            if state.get("wired") is False:
                # The engine that was to wire it is gone: nobody knows how far it came.
                await known.link.call("kill", {})
                return await known.exited
        except NotFound:
            return await known.exited  # it ended while it was asked
        return msgspec.convert(state, MonitorState)

    def sweep(self, alive: Mapping[str, int]) -> None:
        """At start: end and remove every run but those of ``alive`` (container id -> run)."""
        for container_id, number, path in self._directories.all():
            if str(alive.get(container_id)) != number:
                with contextlib.suppress(OSError):
                    rundirs.connect_or_forbid(path).close()
                self._clean_up(Run(container_id, 0, self._directories.cgroup(container_id, path), path))
                shutil.rmtree(path, ignore_errors=True)
        self._directories.remove_empty()
        for seat in Seats(self.exec_root, f"{self.cgroup_parent}/c", self.hierarchies).left():
            if seat.id not in alive:
                seat.clear()

    def ended_execs(self, container_id: str, run: int) -> dict[str, int]:
        """Exit codes of execs that ended while no engine listened, from a run whose monitor is gone."""
        return rundirs.ended_execs(self._directories.path(container_id, run))

    def exited(self, container_id: str) -> asyncio.Future[ExitRecord]:
        """The end of the current run."""
        return self._run(container_id).exited

    def flushed(self, container_id: str) -> asyncio.Future[None]:
        """When every attached client has all output of the current run."""
        return self._run(container_id).flushed

    async def call(self, container_id: str, verb: str, arguments: Json, fds: Sequence[int] = ()) -> Json:
        """Ask the monitor; descriptors passed in are taken in any case."""
        taken = list(fds)
        try:
            run = self._run(container_id)
            if run.link is None:
                raise NotFound(f"container {container_id} is not running")
            if verb == "exec_wait":  # it is told unasked
                return await run.link.exec_ended(arguments["id"])
            if verb == "exec":
                taken.insert(0, self._process(arguments))
                arguments = {name: value for name, value in arguments.items() if name != "process"}
            return await run.link.call(verb, arguments, taken)
        finally:
            for fd in taken:
                os.close(fd)

    async def job(self, name: str, arguments: Json, fds: Sequence[int]) -> Json:
        """Run a job in a fork of the launcher."""
        return await self.launcher.job(name, arguments, fds)

    def _process(self, arguments: Json) -> int:
        """The compiled process of an exec, in a memfd that the monitor hands on unread."""
        environment = compiler.Environment(self.features, _NO_ROOT, seccomp=arguments.pop("seccomp"))
        seccomp = compiler.seccomp_of({}, environment)
        process_ = compile_process(arguments["process"], self.features.capabilities, seccomp)
        return sealed.data("onggi-exec", encode(process_))

    async def forget(self, container_id: str, run: int) -> None:
        """The record is committed: drop the run and its directory."""
        known = self._runs.get(container_id)
        if known and known.number == run:
            del self._runs[container_id]
            if known.link and known.flushed.done():
                known.link.close()
        self._directories.remove(self._directories.path(container_id, run))

    def close(self) -> None:
        """Let go of every connection; launcher, monitors and containers go on."""
        for run in self._runs.values():
            if run.link:
                run.link.close()
        self.launcher.close()

    def _run(self, container_id: str) -> Run:
        run = self._runs.get(container_id)
        if run is None:
            raise NotFound(f"container {container_id} is not running")
        return run


def _record_of_failure(run: Run, failure: Json) -> ExitRecord:
    error = start_error(failure)
    return ExitRecord(run=run.number, code=exit_code_of(error), error=str(error), finished_ns=time.time_ns())
