"""Kill rounds: clients do random things to one engine while its processes are killed at random moments.

    python tests/crash/kill_rounds.py --rounds 300 --seed 1 [--table docs/proofs/kill-rounds.md]

After each round the engine's world is compared with itself (consistency.py) and with what the clients were
told: what was created exists, what was removed is gone, and a container whose monitor nobody killed and that
nobody stopped runs on as the same process. Needs root; enters private namespaces by itself.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
if __name__ == "__main__":
    for folder in ("tests/crash", "tests", "src"):
        sys.path.insert(0, str(HERE.parents[2] / folder))

from consistency import Consistency, comm  # noqa: E402

from running_engine import RunningEngine, engine_in, wait_for  # noqa: E402

CLIENTS, STEPS, SPREAD_S = 3, 6, 1.2
TARGETS = ("engine", "launcher", "monitor", "engine and launcher", "engine and monitor", "all")
BODY = {"Image": "host", "HostConfig": {"NetworkMode": "none"}}
UNREACHED = (http.client.HTTPException, OSError)


class Known:
    """What a client was told of one of its containers; None where an answer never came."""

    def __init__(self) -> None:
        self.exists: bool | None = True
        self.runs: bool | None = False
        self.pid = 0


class Client(threading.Thread):
    """One user with containers of his own; starts the engine if nobody answers, as the CLI does."""

    def __init__(self, engine: RunningEngine, seed: str) -> None:
        super().__init__()
        self.engine, self.random = engine, random.Random(seed)
        self.known: dict[str, Known] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []

    def run(self) -> None:
        try:
            for _ in range(STEPS):
                steps = (self.create, self.create, self.begin, self.begin, self.stop, self.kill)
                steps += (self.remove, self.execute, self.pass_by, self.pause)
                step = self.random.choice(steps)
                self.counts["operations"] += 1
                step()
        except Exception as error:  # an assertion of a thread is the round's
            self.failures.append(f"{type(error).__name__}: {error}")

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, answer); status 0 if the answer never came."""
        try:
            connection = self.engine.connection()
            with contextlib.closing(connection):
                payload = None if body is None else json.dumps(body)
                connection.request(method, path, payload, {"Content-Type": "application/json"})
                response = connection.getresponse()
                data = response.read()
        except UNREACHED:
            self.counts["unanswered"] += 1
            with contextlib.suppress(AssertionError):  # another starter won, or it was killed again
                self.engine.start("--on-demand")
            return 0, None
        if response.status >= 500:
            self.counts["answers of 5xx"] += 1
            self.counts[f"{response.status} {data[:200]!r}"] += 1
        with contextlib.suppress(ValueError):
            return response.status, json.loads(data)
        return response.status, data

    def _any(self) -> str:
        living = [key for key, known in self.known.items() if known.exists]
        return self.random.choice(living) if living else ""

    def create(self) -> None:
        name = f"c{self.ident}-{self.counts['operations']}-{self.random.randrange(10**9)}"
        command = self.random.choice(
            (["sleep", "100000"], ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
        )
        body = {**BODY, "Cmd": command}
        known = self.known[name] = Known()
        status, _ = self.ask("POST", f"/containers/create?name={name}", body)
        known.exists = True if status == 201 else None

    def begin(self) -> None:
        if name := self._any():
            known = self.known[name]
            before, known.runs = known.runs, None
            status, _ = self.ask("POST", f"/containers/{name}/start")
            if status == 204:
                known.runs, known.pid = True, 0
            elif status == 304:
                known.runs = before

    def stop(self) -> None:
        self._end(f"stop?t={self.random.choice((0, 1))}")

    def kill(self) -> None:
        self._end("kill")

    def _end(self, verb: str) -> None:
        if name := self._any():
            self.known[name].runs = None
            self.ask("POST", f"/containers/{name}/{verb}")

    def pause(self) -> None:
        if name := self._any():
            self.ask("POST", f"/containers/{name}/pause")
            while self.ask("POST", f"/containers/{name}/unpause")[0] == 0:
                continue

    def remove(self) -> None:
        if name := self._any():
            self.known[name].exists = self.known[name].runs = None
            if self.ask("DELETE", f"/containers/{name}?force=1")[0] in (204, 404):
                self.known[name].exists = False

    def execute(self) -> None:
        if name := self._any():
            status, answer = self.ask("POST", f"/containers/{name}/exec", {"Cmd": ["sleep", "0.1"]})
            if status == 201:
                self.ask("POST", f"/exec/{answer['Id']}/start", {"Detach": True})

    def pass_by(self) -> None:
        """A whole life in one call."""
        config = {**BODY, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", "AutoRemove": True}}
        self.ask("POST", "/onggi/v1/run", {"Config": config, "Wait": True})


class Rounds:
    """One engine through many rounds."""

    def __init__(self, engine: RunningEngine, seed: int) -> None:
        self.engine, self.seed = engine, seed
        self.checker = Consistency(engine)
        self.clients: list[Client] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.kept: list[dict[str, Known]] = [{} for _ in range(CLIENTS)]

    def play(self, number: int) -> None:
        """One round; fails with what is wrong behind it."""
        chance = random.Random(f"{self.seed} {number}")
        self._rise()
        self.clients = [Client(self.engine, f"{self.seed} {number} {index}") for index in range(CLIENTS)]
        for client, known in zip(self.clients, self.kept, strict=True):
            client.known = known
            client.start()
        for _ in range(chance.choice((1, 1, 2, 3))):
            time.sleep(chance.uniform(0, SPREAD_S))
            self._strike(chance)
        for client in self.clients:
            client.join(300)
        self._rise()
        self._judge(number)

    def _rise(self) -> None:
        if not self.engine.serves():
            with contextlib.suppress(AssertionError):
                self.engine.start("--on-demand")
            wait_for("an engine", self.engine.serves)

    def _strike(self, chance: random.Random) -> None:
        target = chance.choice(TARGETS)
        self.counts[f"kills of {target}"] += 1
        beside = {pid: comm(pid) for pid in self.engine.pids("/monitors")}
        launchers = [pid for pid, name in beside.items() if name == "onggi-launcher"]
        monitors = sorted(pid for pid, name in beside.items() if name == "onggi-monitor")
        victims: list[int] = []
        if "monitor" in target or target == "all":
            victims += chance.sample(monitors, min(len(monitors), 1 if "monitor" in target else 3))
            self._lost(set(victims))
        if "engine" in target or target == "all":
            victims += [self.engine.pid()]
        if "launcher" in target or target == "all":
            victims += launchers
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, 9)

    def _lost(self, monitors: set[int]) -> None:
        """Whose monitor it is cannot be told while containers come and go: nobody's is expected to go on."""
        if monitors:
            for client in self.clients:
                for known in list(client.known.values()):
                    known.runs = None
            self.counts["monitors killed"] += len(monitors)

    def _judge(self, number: int) -> None:
        failures = [failure for client in self.clients for failure in client.failures]
        self.checker.check()
        told = {entry["Names"][0][1:]: entry for entry in self.engine.call("GET", "/containers/json?all=1")}
        for client in self.clients:
            for name, known in client.known.items():
                failures += self._differs(name, known, told.get(name))
            client.known = {}
            self.counts.update(client.counts)
        for index, client_known in enumerate(self.kept):
            self.kept[index] = {name: known for name, known in client_known.items() if name in told}
        self._thin_out(told)
        assert not failures, f"seed {self.seed}, round {number}: " + "\n".join(failures)

    def _differs(self, name: str, known: Known, entry: Any) -> list[str]:
        if known.exists is not None and known.exists != (entry is not None):
            return [f"{name} was told to exist: {known.exists}, found: {entry}"]
        if entry is None:
            return []
        runs = entry["State"] == "running"
        state = self.engine.state(name)
        if known.runs and not runs:
            return [f"{name} should run on: {state}"]
        # Who may have been stopped may also have been started again, by a request that got no answer.
        pid = known.pid if known.runs else 0
        known.exists, known.runs = True, runs
        known.pid = state["Pid"]
        return (
            [f"{name} runs as {state['Pid']} instead of {pid}"] if pid and runs and known.pid != pid else []
        )

    def _thin_out(self, told: Any) -> None:
        """At most so many containers stay for the next round."""
        for name in sorted(told)[6:]:
            self.engine.call("DELETE", f"/containers/{name}?force=1")
            for known in self.kept:
                known.pop(name, None)
        self.checker.check()


def table(rounds: int, seed: int, counts: collections.Counter[str], seconds: float) -> str:
    """A row for each thing counted."""
    facts = [
        ("rounds", rounds), ("seed", seed), ("seconds", round(seconds)),
        *((name, counts[name]) for name in ("operations", "unanswered", "answers of 5xx", "monitors killed")),
        *((f"kills of {target}", counts[f"kills of {target}"]) for target in TARGETS),
        ("disagreements behind a round", 0),
    ]  # fmt: skip
    return "| what | count |\n|---|---:|\n" + "".join(f"| {name} | {value} |\n" for name, value in facts)


def play(root: Path, rounds: int, seed: int) -> collections.Counter[str]:
    """All rounds on one engine below ``root``; what happened, counted."""
    for engine in engine_in(root):
        game = Rounds(engine, seed)
        for number in range(rounds):
            game.play(number)
            if rounds > 20 and number % 20 == 19:
                print(number + 1, dict(game.counts), flush=True)
        return game.counts
    return collections.Counter()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    if "ONGGI_HERE" not in os.environ:
        os.environ["ONGGI_HERE"] = "1"
        own = ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, *sys.argv]
        os.execvp(own[0], own)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        counts = play(Path(root), given.rounds, given.seed)
    text = table(given.rounds, given.seed, counts, time.monotonic() - began)
    print(text)
    if given.table:
        given.table.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
