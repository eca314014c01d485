"""Clients that do random things with containers of one engine, and remember what they were told.

Each program first writes a line into a file outside, so that a run that nobody asked for is seen. A client
whose request is not answered starts the engine, as the CLI does, and goes on.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import random
import threading
from pathlib import Path
from typing import Any, NamedTuple

from running_engine import RunningEngine

UNREACHED = (http.client.HTTPException, OSError)
NOT_SENT = (ConnectionRefusedError, FileNotFoundError)
STARTERS = threading.Lock()
TASK_CODE, RETRY_CODE, PASSING_CODE, RETRIES = 7, 3, 5, 2


class Kind(NamedTuple):
    """What a container does: its program behind the line, its exit code if it ends by itself, and how often
    it runs at most for each time that it is started.
    """

    program: str
    code: int | None = None
    runs: int = 1
    host: Any = None
    config: Any = None


KINDS = {
    "sleeper": Kind("exec sleep 100000"),
    "stubborn": Kind("trap '' TERM; while :; do sleep 1; done"),
    "always": Kind("exec sleep 100000", None, 1, {"RestartPolicy": {"Name": "always"}}),
    "checked": Kind(
        "exec sleep 100000", None, 1, {}, {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 200_000_000}}
    ),
    "task": Kind(f"sleep 0.2; exit {TASK_CODE}", TASK_CODE),
    "retry": Kind(
        f"exit {RETRY_CODE}", RETRY_CODE, 1 + RETRIES,
        {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": RETRIES}},
    ),
}  # fmt: skip


class Known:
    """What a client was told of one of its containers; None where an answer never came.

    ``code`` is what it ends with if nothing else happens to it, ``starts`` how often it may have been
    started.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.exists: bool | None = True
        self.runs: bool | None = False
        self.code: int | None = None
        self.pid = self.starts = 0

    def lost_sight(self) -> None:
        """Whether and how it runs is not known from here on."""
        self.runs = self.code = None


class ContainerClient(threading.Thread):
    """One user with containers of his own. ``lost`` are the operations that were sent and not answered."""

    def __init__(
        self, engine: RunningEngine, seed: str, steps: int, starts: Path, prefer: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.engine, self.random, self.steps, self.starts = engine, random.Random(seed), steps, starts
        self.prefer = prefer
        self.known: dict[str, Known] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.lost: list[str] = []
        self.failures: list[str] = []
        self.monitors_killed = False
        self.doing = ""

    def run(self) -> None:
        others = (
            "create",
            "create",
            "start",
            "start",
            "stop",
            "kill",
            "rm",
            "exec",
            "exec_run",
            "run",
            "pause",
            "restart",
        )
        try:
            for _ in range(self.steps):
                names = self.prefer if self.prefer and self.random.random() < 0.5 else others
                self.doing = self.random.choice(names)
                self.counts[self.doing] += 1
                getattr(self, f"do_{self.doing}")()
        except Exception as error:  # an assertion of a thread is the round's
            self.failures.append(f"{self.doing}: {type(error).__name__}: {error}")

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, answer); status 0 if the answer never came."""
        try:
            with contextlib.closing(self.engine.connection()) as connection:
                payload = None if body is None else json.dumps(body)
                connection.request(method, path, payload, {"Content-Type": "application/json"})
                response = connection.getresponse()
                data = response.read()
        except UNREACHED as error:
            if not isinstance(error, NOT_SENT):
                self.lost.append(self.doing)
            self.counts["unanswered"] += 1
            self._start_engine()
            return 0, None
        if response.status >= 500:
            self.counts["answers of 5xx"] += 1
            self.counts[f"{response.status} {data[:200]!r}"] += 1
        with contextlib.suppress(ValueError):
            return response.status, json.loads(data)
        return response.status, data

    def _start_engine(self) -> None:
        """Mostly one client for all, because each starter costs time; now and then they race."""
        one = STARTERS if self.random.random() < 0.75 else contextlib.nullcontext()
        with one:
            if not self.engine.serves():
                with contextlib.suppress(AssertionError):  # another starter won, or it was killed again
                    self.engine.start("--on-demand")

    def _any(self) -> str:
        living = [key for key, known in self.known.items() if known.exists]
        return self.random.choice(living) if living else ""

    def _body(self, name: str, kind: Kind) -> Any:
        command = ["sh", "-c", f"echo >> /starts/{name}; {kind.program}"]
        host = {"NetworkMode": "none", "Binds": [f"{self.starts}:/starts"], **(kind.host or {})}
        return {"Image": "host", "Cmd": command, "HostConfig": host, **(kind.config or {})}

    # -- doing ---------------------------------------------------------------------------------------------

    def do_create(self, kind: str = "") -> str:
        name = f"c{self.ident}-{self.random.randrange(10**9)}"
        chosen = KINDS[kind or self.random.choice(sorted(KINDS))]
        known = self.known[name] = Known(chosen)
        known.exists = None
        status, _ = self.ask("POST", f"/containers/create?name={name}", self._body(name, chosen))
        known.exists = True if status == 201 else None
        return name

    def do_start(self, name: str = "", verb: str = "start") -> None:
        if name := name or self._any():
            known = self.known[name]
            before = known.runs, known.code
            known.lost_sight()
            known.starts += 1
            status, _ = self.ask("POST", f"/containers/{name}/{verb}")
            if status == 204:
                known.runs, known.pid, known.code = known.kind.code is None or None, 0, known.kind.code
            elif status == 304:
                known.runs, known.code = before
            known.starts -= status in (304, 404)

    def do_restart(self) -> None:
        self.do_start("", f"restart?t={self.random.choice((0, 1))}")

    def do_stop(self) -> None:
        self._end(f"stop?t={self.random.choice((0, 1))}")

    def do_kill(self) -> None:
        self._end("kill")

    def _end(self, verb: str) -> None:
        if name := self._any():
            self.known[name].lost_sight()
            self.ask("POST", f"/containers/{name}/{verb}")

    def do_pause(self) -> None:
        if name := self._any():
            self.ask("POST", f"/containers/{name}/pause")
            while self.ask("POST", f"/containers/{name}/unpause")[0] == 0:
                continue

    def do_rm(self) -> None:
        if name := self._any():
            self.known[name].lost_sight()
            self.known[name].exists = None
            if self.ask("DELETE", f"/containers/{name}?force=1")[0] in (204, 404):
                self.known[name].exists = False

    def do_exec(self) -> None:
        if name := self._any():
            status, answer = self.ask("POST", f"/containers/{name}/exec", {"Cmd": ["sleep", "0.1"]})
            if status == 201:
                self.ask("POST", f"/exec/{answer['Id']}/start", {"Detach": True})

    def do_exec_run(self) -> None:
        """An exec in one call, in a container that others may end."""
        if name := self._any():
            body = {"Container": name, "Config": {"Cmd": ["sh", "-c", "exit 9"]}, "Wait": True}
            status, answer = self.ask("POST", "/onggi/v1/exec", body)
            assert status != 200 or answer["ExitCode"] in (9, 137), answer

    def do_run(self) -> None:
        """A whole life in one call."""
        name = f"run{self.ident}-{self.random.randrange(10**9)}"
        body = self._body(name, Kind(f"exit {PASSING_CODE}", host={"AutoRemove": True}))
        status, answer = self.ask("POST", "/onggi/v1/run", {"Config": body, "Wait": True})
        count = lines(self.starts / name)
        allowed = {PASSING_CODE, 137} if self.monitors_killed else {PASSING_CODE}
        if status == 200 and not self.monitors_killed:
            assert (answer.get("StatusCode") in allowed, count) == (True, 1), (answer, count)
        assert count <= 1, f"{name} ran {count} times"

    def do_checked_life(self) -> None:
        self.do_start(self.do_create("checked"))

    def do_failing_life(self) -> None:
        self.do_start(self.do_create("retry"))

    def do_short_life(self) -> None:
        self.do_start(self.do_create("task"))

    def do_waited_exec(self) -> None:
        """An exec whose exit code is asked for at its end, by whichever engine is there then."""
        name = self.do_create("sleeper")
        self.do_start(name)
        status, answer = self.ask("POST", f"/containers/{name}/exec", {"Cmd": ["sh", "-c", "exit 9"]})
        if status != 201 or self.ask("POST", f"/exec/{answer['Id']}/start", {"Detach": True})[0] != 200:
            return
        path = f"/exec/{answer['Id']}/json"
        while (found := self.ask("GET", path))[0] == 0 or (found[0] == 200 and found[1]["Running"]):
            continue
        if found[0] == 200 and not self.monitors_killed:
            assert found[1]["ExitCode"] == 9, found


def lines(path: Path) -> int:
    """How many lines a file has that may be absent."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
