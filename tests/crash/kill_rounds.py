"""Kill rounds: clients do random things to one engine while its processes die, at a named point of an
operation or at any moment.

    python tests/crash/kill_rounds.py --rounds 500 --seed 1 [--table docs/proofs/kill-rounds.md]

After each round the engine's world is compared with itself (consistency.py) and with what the clients were
told: what was created exists, what was removed is gone, what nobody stopped runs on as the same process, what
ended has its exit code, nothing ran more often than it was started, checks of health go on. After each third
round the engine dies once more, while a container ends: the next one's first answers must tell of all that.
Needs root; enters private namespaces by itself.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
if __name__ == "__main__":
    for folder in ("tests/crash", "tests", "src"):
        sys.path.insert(0, str(HERE.parents[2] / folder))

from consistency import Consistency, comm  # noqa: E402
from container_clients import KINDS, TASK_CODE, ContainerClient, Known, lines  # noqa: E402
from tally import ANY, Tally  # noqa: E402

import private_world  # noqa: E402
import proofs  # noqa: E402
from running_engine import RunningEngine, engine_in, gone, kill, wait_for  # noqa: E402

CLIENTS, STEPS, SPREAD_S, KEPT = 3, 6, 1.2, 6
TARGETS = ("engine", "launcher", "monitor", "engine and launcher", "engine and monitor", "all")
# Where an engine dies, and what clients do more often than other things then.
POINTS: dict[str, tuple[str, ...]] = {
    "containers.create.before_row": ("create",),
    "containers.create.after_row": ("create",),
    "containers.start.before_launch": ("short_life", "start"),
    "containers.start.after_launch": ("short_life", "start"),
    "containers.start.before_answer": ("short_life", "start"),
    "containers.stop.before_signal": ("start", "stop"),
    "containers.stop.after_signal": ("start", "stop"),
    "containers.restart.after_stop": ("start", "restart"),
    "containers.end.before_row": ("short_life", "failing_life"),
    "containers.end.after_row": ("short_life", "failing_life"),
    "containers.restart.before_start": ("failing_life",),
    "containers.restart.after_start": ("failing_life",),
    "containers.exec.before_launch": ("waited_exec",),
    "containers.exec.after_launch": ("waited_exec",),
    "containers.health.before_probe": ("checked_life",),
    "containers.health.after_probe": ("checked_life",),
    "containers.remove.before_row": ("rm", "create", "run"),
    "containers.remove.after_row": ("rm", "create", "run"),
}
OWN = {
    "containers.health": "health check",
    "containers.restart.before_start": "restart by policy",
    "containers.restart.after_start": "restart by policy",
    "containers.end": "end of a run",
}  # what the engine does by itself, with no client that waits


class Rounds:
    """One data root through many engines."""

    def __init__(self, engine: RunningEngine, seed: int) -> None:
        self.engine, self.seed = engine, seed
        self.checker = Consistency(engine)
        self.clients: list[ContainerClient] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.tally = Tally(POINTS)
        self.kept: list[dict[str, Known]] = [{} for _ in range(CLIENTS)]
        self.starts = engine.root / "starts"
        self.starts.mkdir()

    def play(self, number: int, point: str = "") -> None:
        """One round; fails with what is wrong behind it."""
        chance = random.Random(f"{self.seed} {number}")
        point = point or self.tally.next(number)
        child = self._rise_armed(f"{point}#{chance.choice((1, 1, 2, 3))}") if point != ANY else None
        self._rise()
        self.clients = [
            ContainerClient(
                self.engine, f"{self.seed} {number} {index}", STEPS, self.starts, POINTS.get(point, ())
            )
            for index in range(CLIENTS)
        ]
        for client, known in zip(self.clients, self.kept, strict=True):
            client.known = known
            client.start()
        for _ in range(chance.choice((1, 1, 2, 3)) if child is None else 0):
            time.sleep(chance.uniform(0, SPREAD_S))
            self._strike(chance)
        for client in self.clients:
            client.join(300)
        self._count(point, child)
        self._rise()
        self._judge(number)

    def _rise(self) -> None:
        wait_for("an engine", self._try_to_rise)

    def _try_to_rise(self) -> bool:
        """A starter gives way to an engine that is dying, and threads of it may still be."""
        if self.engine.serves():
            return True
        with contextlib.suppress(AssertionError):
            self.engine.start("--on-demand")
            return True
        return False

    def _rise_armed(self, armed: str) -> subprocess.Popen[bytes]:
        """An engine that will die at a point. It may do so while it comes up: ends are booked then."""
        while True:  # who waited for the lock may have it first
            self._end_engine()
            child = self.engine.start(env={"ONGGI_FAILPOINT": armed}, wait=False)
            if self._has_risen(child):
                return child

    def _has_risen(self, child: subprocess.Popen[bytes]) -> bool:
        """Whether it serves, or has died at its point; False if it found the lock taken."""

        def serves() -> bool:
            with contextlib.suppress(FileNotFoundError):
                return self.engine.pid() == child.pid and self.engine.serves()
            return False

        wait_for("an armed engine", lambda: child.poll() is not None or serves())
        return child.poll() != 1

    def _end_engine(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if pid := self.engine.pid():
                kill(pid)

    def _count(self, point: str, child: subprocess.Popen[bytes] | None) -> None:
        doings = [doing for client in self.clients for doing in client.lost]
        if child is None:
            self.tally.flying.update((ANY, doing) for doing in doings)
        elif child.poll() == -9:
            self.tally.add(point, doings + [what for prefix, what in OWN.items() if point.startswith(prefix)])
        else:
            self.tally.missed[point] += 1
            self._end_engine()

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
        if "engine" in target or target == "all":
            self.tally.add(ANY)

    def _lost(self, monitors: set[int]) -> None:
        """Whose monitor it is cannot be told while containers come and go: nobody's is expected to go on."""
        for client in self.clients:
            client.monitors_killed = True
            for known in list(client.known.values()):
                known.lost_sight()
                known.starts += len(monitors) * (known.kind is KINDS["always"])
        self.counts["monitors killed"] += len(monitors)

    # -- judging -------------------------------------------------------------------------------------------

    def _judge(self, number: int) -> None:
        failures = [failure for client in self.clients for failure in client.failures]
        for client in self.clients:
            if client.monitors_killed:
                for known in client.known.values():
                    known.code = None  # its start may have been answered behind the kill
        failures += self._settled()
        self.checker.check()
        told = self._told()
        for client in self.clients:
            for name, known in client.known.items():
                failures += self._differs(name, known, told.get(name))
            client.known = {}
            self.counts.update(client.counts)
        for index, client_known in enumerate(self.kept):
            self.kept[index] = {name: known for name, known in client_known.items() if name in told}
        self._thin_out(told)
        if number % 3 == 0:
            failures += self._first_answers()
        assert not failures, f"seed {self.seed}, round {number}: " + "\n".join(failures)

    def _told(self) -> dict[str, Any]:
        return {entry["Names"][0][1:]: entry for entry in self.engine.call("GET", "/containers/json?all=1")}

    def _settled(self) -> list[str]:
        """Wait for what must come: ends of what ends by itself, verdicts of checks."""
        failures = []
        for client in self.clients:
            for name, known in client.known.items():
                try:
                    wait_for(
                        f"{name} to settle", lambda name=name, known=known: self._is_settled(name, known)
                    )
                except AssertionError as error:
                    failures.append(f"{error}: {self.engine.state(name)}")
        return failures

    def _is_settled(self, name: str, known: Known) -> bool:
        if name not in self._told():
            return True
        state = self.engine.state(name)
        if state["Restarting"]:
            return False
        if known.kind.code is not None:
            return not state["Running"]
        return not state["Running"] or "Health" not in state or state["Health"]["Status"] == "healthy"

    def _differs(self, name: str, known: Known, entry: Any) -> list[str]:
        if known.exists is not None and known.exists != (entry is not None):
            return [f"{name} was told to exist: {known.exists}, found: {entry}"]
        ran, allowed = lines(self.starts / name), known.starts * known.kind.runs
        failures = (
            [f"{name} of {known.kind} ran {ran} times and was started {known.starts} times"]
            if ran > allowed
            else []
        )
        if entry is None:
            return failures
        runs = entry["State"] == "running"
        state = self.engine.state(name)
        if known.runs and not runs:
            failures.append(f"{name} should run on: {state}")
        if known.code is not None and known.code != state["ExitCode"]:
            failures.append(f"{name} should have ended with {known.code}: {state}")
        if known.code is not None and ran == 0:
            failures.append(f"{name} was started and never ran: {state}")
        # Who may have been stopped may also have been started again, by a request that got no answer.
        pid = known.pid if known.runs else 0
        known.exists, known.runs = True, runs
        known.pid = state["Pid"]
        if pid and runs and known.pid != pid:
            failures.append(f"{name} runs as {state['Pid']} instead of {pid}")
        return failures

    def _thin_out(self, told: Any) -> None:
        """At most so many containers stay for the next round."""
        for name in sorted(told)[KEPT:]:
            self.engine.call("DELETE", f"/containers/{name}?force=1")
            for known in self.kept:
                known.pop(name, None)
        self.checker.check()

    def _first_answers(self) -> list[str]:
        """What the first answers of a new engine lack: ``ps`` as before, an end it did not see, its event."""
        since = time.time_ns()
        name = self.engine.run("sh", "-c", f"sleep 0.1; exit {TASK_CODE}")
        before = {it["Id"]: (it["State"], self.engine.state(it["Id"])["Pid"]) for it in self._told().values()}
        pid = before.pop(name)[1]
        self._end_engine()
        wait_for("the task's end", lambda: not pid or gone(pid))
        self._rise()
        told = {it["Id"]: it for it in self.engine.call("GET", "/containers/json?all=1")}
        events = self.engine.events(since)
        after = {key: (told[key]["State"], self.engine.state(key)["Pid"]) for key in told if key != name}
        codes = [
            it["Actor"]["Attributes"]["exitCode"]
            for it in events
            if it["Action"] == "die" and it["Actor"]["ID"] == name
        ]
        state = self.engine.state(name)
        self.engine.call("DELETE", f"/containers/{name}?force=1")
        self.tally.add("at rest")
        wrong = [] if before == after else [f"ps before a kill {before}, after it {after}"]
        if (told[name]["State"], state["ExitCode"], codes) != ("exited", TASK_CODE, [str(TASK_CODE)]):
            wrong.append(f"the end of {name} is told as {told[name]['State']}, {state}, events {codes}")
        return wrong


def facts(counts: collections.Counter[str], tally: Tally) -> list[tuple[str, int]]:
    """What was counted."""
    names = {name.removeprefix("do_") for name in dir(ContainerClient) if name.startswith("do_")}
    return [
        ("rounds that agreed", counts["rounds"]),
        ("operations", sum(counts[name] for name in names)),
        *((name, counts[name]) for name in ("unanswered", "answers of 5xx", "monitors killed")),
        *((f"kills of {target}", counts[f"kills of {target}"]) for target in TARGETS),
        ("engines killed at a point", sum(tally.kills[point] for point in POINTS)),
        ("rounds whose point was not reached", sum(tally.missed.values())),
        ("engines killed at rest, while a container ended", tally.kills["at rest"]),
        ("jobs that ended with a disagreement", counts["jobs that failed"]),
    ]


def play(
    root: Path, numbers: range, seed: int, points: tuple[str, ...] = (), path: Path | None = None
) -> Rounds:
    """These rounds on one data root below ``root``; with ``points`` each of them in turn.

    What was counted up to now is in ``path``.
    """
    with contextlib.closing(engine_in(root)) as engines:  # also when a signal ends the rounds
        for engine in engines:
            game = Rounds(engine, seed)
            for number in numbers:
                game.play(number, points[number % len(points)] if points else "")
                game.counts["rounds"] += 1
                if path is not None:
                    path.write_bytes(pickle.dumps((game.counts, game.tally)))
                if len(numbers) > 20 and number % 20 == 19:
                    print(number + 1, dict(game.counts), flush=True)
            return game
    raise AssertionError("no engine")


def play_at_once(rounds: int, seed: int, jobs: int) -> tuple[collections.Counter[str], Tally]:
    """Rounds in so many engines at once, each in namespaces of its own, which are busy for one another."""
    counts: collections.Counter[str] = collections.Counter()
    tally = Tally(POINTS)
    with tempfile.TemporaryDirectory() as directory:
        children = []
        for job in range(jobs):
            numbers = [str(rounds * edge // jobs) for edge in (job, job + 1)]
            command = [sys.executable, HERE, "--seed", str(seed), "--share", *numbers, f"{directory}/{job}"]
            children.append(subprocess.Popen(command))
        try:
            counts["jobs that failed"] = sum(child.wait() != 0 for child in children)
        except (KeyboardInterrupt, SystemExit):
            print("interrupted: what was counted up to now")
        finally:
            for child in children:
                child.terminate()
                child.wait()
        for job in range(jobs):
            if not Path(directory, str(job)).exists():
                continue  # it failed in its first round
            more, others = pickle.loads(Path(directory, str(job)).read_bytes())
            counts.update(more)
            tally.update(others)
    return counts, tally


def main() -> int:
    parser = proofs.parser(rounds=15, seed=1, jobs=1)
    parser.add_argument("--share", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the engines go as well
    if given.share:
        private_world.enter()
        first, end, path = given.share
        with tempfile.TemporaryDirectory() as root:
            play(Path(root), range(int(first), int(end)), given.seed, (), Path(path))
        return 0
    began = time.monotonic()
    counts, tally = play_at_once(given.rounds, given.seed, given.jobs)
    text = f"{proofs.told(given, began)}.\n\n{proofs.counts(facts(counts, tally))}\n{tally.table()}"
    proofs.publish(given, "Containers survive kills", text)
    return 1 if counts["jobs that failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
