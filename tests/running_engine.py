"""Real engines for tests: started in temporary directories, asked over their socket, removed whole.

Every engine gets a control group of its own, so that cleaning up ends exactly what the engine started.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onggi.errors import KernelError
from onggi.kernel import cgroups, syscalls
from onggi.kernel.cgroups import Group
from onggi.kernel.sockets import connect_unix

SOURCE = Path(__file__).resolve().parents[1] / "src"
DEADLINE_S = 60.0
BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from onggi.daemon.main import main; sys.exit(main(sys.argv[1:]))"
)
COMMAND = [sys.executable, "-I", "-c", BOOT, str(SOURCE)]
_numbers = itertools.count(1)


def wait_for(what: str, condition: Callable[[], Any]) -> Any:
    """Poll until ``condition`` gives something true; fails with ``what`` after a generous deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.01)
    return value


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=DEADLINE_S)
        self._path = path

    def connect(self) -> None:
        import socket

        self.sock = connect_unix(self._path, socket.SOCK_STREAM)
        self.sock.settimeout(DEADLINE_S)


class RunningEngine:
    """One engine's directories and group; it may be started, killed and started again."""

    def __init__(self, root: Path) -> None:
        self.root, self.exec_root, self.data_root = root, str(root / "run"), str(root / "lib")
        self.group = f"/onggi-test-{os.getpid()}-{next(_numbers)}"
        self.socket = f"{self.exec_root}/onggi.sock"
        self.source = SOURCE  # what the next engine is started from
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def flags(self) -> list[str]:
        """Directories and group, and leave to live in the test's private namespaces."""
        directories = ["--data-root", self.data_root, "--exec-root", self.exec_root]
        return [*directories, "--cgroup-parent", self.group, "--here"]

    def start(
        self, *flags: str, env: Mapping[str, str] | None = None, prefix: Sequence[str] = (), wait: bool = True
    ) -> subprocess.Popen[bytes]:
        """Start an engine process and, unless told otherwise, wait until it serves or ends."""
        ready, ready_end = os.pipe()
        log = open(self.root / "stderr", "ab")  # noqa: SIM115 - the child's from here on
        with log:
            child = subprocess.Popen(
                [*prefix, *COMMAND[:-1], str(self.source), *self.flags, "--ready-fd", str(ready_end), *flags],
                pass_fds=[ready_end],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **(env or {})},
            )
        self._children.append(child)
        os.close(ready_end)
        try:
            if wait:
                assert select.select([ready], [], [], DEADLINE_S)[0], "the engine does not get ready"
                assert os.read(ready, 1), f"the engine ended: {self.log()}"
        finally:
            os.close(ready)
        return child

    def adopt(self, child: subprocess.Popen[bytes]) -> None:
        """Take over an engine process that a test started in its own way."""
        self._children.append(child)

    def log(self) -> str:
        """What engines and launcher wrote so far."""
        run = Path(self.exec_root)
        paths = (self.root / "stderr", run / "onggid.log", run / "launcher.log")
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    def connection(self) -> http.client.HTTPConnection:
        """One of its own; the caller closes it."""
        return UnixConnection(self.socket)

    def call(self, method: str, path: str, body: Any = None, expect: int = 0) -> Any:
        """One request; the decoded answer. Any status below 400 is fine unless one is expected."""
        connection = self.connection()
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        good = response.status == expect if expect else response.status < 400
        assert good, (response.status, data, self.log())
        is_json = "json" in (response.getheader("Content-Type") or "")
        return json.loads(data) if data.strip() and is_json else data

    def serves(self) -> bool:
        """Whether somebody answers at the socket."""
        try:
            return bool(self.call("GET", "/_ping") == b"OK")
        except (OSError, http.client.HTTPException):
            return False

    def pid(self) -> int:
        """The process that holds the engine's lock; 0 while that changes hands."""
        return int(Path(self.exec_root, "onggid.lock").read_text() or 0)

    def run(self, *command: str, **host_config: Any) -> str:
        """Create and start a detached container of the host image; its id."""
        body = {"Image": "host", "Cmd": list(command), "HostConfig": {"NetworkMode": "none", **host_config}}
        container: str = self.call("POST", "/containers/create", body, 201)["Id"]
        self.call("POST", f"/containers/{container}/start", expect=204)
        return container

    def state(self, container: str) -> Any:
        """``inspect``'s State."""
        return self.call("GET", f"/containers/{container}/json")["State"]

    def events(self, since_ns: int = 1) -> list[Any]:
        """What happened up to now."""
        stamps = (f"{it // 10**9}.{it % 10**9:09d}" for it in (since_ns, time.time_ns()))
        with contextlib.closing(self.connection()) as connection:
            connection.request("GET", "/events?since={}&until={}".format(*stamps))
            return [json.loads(line) for line in connection.getresponse().read().splitlines()]

    def pids(self, group: str = "") -> list[int]:
        """Every process of the engine's group, or of one below it (``/engine``, ``/monitors``)."""
        return Group(cgroups.detect(), self.group + group).pids()

    def close(self) -> None:
        """End every process that belongs to this engine and remove its groups."""
        group = Group(cgroups.detect(), self.group)
        for child in self._children:
            if child.poll() is None:
                child.kill()
        with contextlib.suppress(KernelError):
            group.kill()
        for child in self._children:
            child.wait(DEADLINE_S)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        group.remove()


def engine_in(root: Path) -> Iterator[RunningEngine]:
    """The body of a fixture: an engine that is not started yet; orphans become children of the test."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    engine = RunningEngine(root)
    try:
        yield engine
    finally:
        engine.close()


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter between open and read
        return True


def kill(pid: int) -> None:
    """SIGKILL to one process, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):  # it may have ended with another one
        os.kill(pid, signal.SIGKILL)
    wait_for(f"end of {pid}", lambda: gone(pid))
